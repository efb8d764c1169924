"""The stages of the loop, one function each: earlier artifacts in, one artifact out."""
