"""Records in, weights out: one loop, interruptible, resumed exactly."""
