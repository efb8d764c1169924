"""A small model learns from a large one's scores, not from the text alone.

Legend: N tokens, V vocabulary.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def distillation_losses(
    student: Float[Tensor, "N V"], teacher: Float[Tensor, "N V"], temperature: float
) -> Float[Tensor, " N"]:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)) of each token, float32.

    Hinton et al. 2015, section 2: the temperature T makes the small probabilities count, and T²
    keeps the gradient's size. No gradient reaches the teacher.
    """
    wanted = F.log_softmax(teacher.detach().float() / temperature, dim=-1)
    found = F.log_softmax(student.float() / temperature, dim=-1)
    return temperature**2 * (wanted.exp() * (wanted - found)).sum(dim=-1)
