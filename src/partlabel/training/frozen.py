"""What training never changes: left out of checkpoints, because `build` and `init` bring it back."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from partlabel.errors import RunError
from partlabel.models.fingerprint import tensors_digest
from partlabel.models.tagger import Tagger

DIGEST = "frozen_digest"
"""Key of a checkpoint under which the digest of what it leaves out stands; earlier releases left nothing out."""


class Frozen:
    """The frozen tensors of a tagger's backbone.

    Those are frozen parameters, and the buffers of modules that are kept in eval mode and have frozen parameters only.

    Args:
        tagger: a tagger in training mode.
    """

    def __init__(self, tagger: Tagger) -> None:
        self.names: set[str] = set()
        for prefix, module in tagger.backbone.named_modules(prefix="backbone", remove_duplicate=False):
            parameters = dict(module.named_parameters(prefix, recurse=False))
            self.names |= {name for name, parameter in parameters.items() if not parameter.requires_grad}
            if parameters and self.names >= parameters.keys() and not module.training:
                self.names |= dict(module.named_buffers(prefix, recurse=False)).keys()
        state = tagger.state_dict()
        self.names &= state.keys()
        self.digest = tensors_digest({name: state[name] for name in self.names}) if self.names else ""

    def without(self, state: Mapping[str, Any], *prefixes: str) -> dict[str, Any]:
        """A state without these tensors, under each of the prefixes."""
        names = {prefix + name for prefix in prefixes for name in self.names}
        return {name: value for name, value in state.items() if name not in names}

    def completed(
        self, saved: Mapping[str, Any], mine: Mapping[str, Tensor], digest: str | None, *prefixes: str
    ) -> dict[str, Any]:
        """A saved state with these tensors of the network at hand.

        Args:
            saved: what `without` left.
            mine: the state of the network at hand.
            digest: of what was left out, as saved; None if nothing was.
            prefixes: as for `without`.

        Raises:
            RunError: the tensors at hand are not those that were left out.
        """
        if digest is None:
            return dict(saved)
        if digest != self.digest:
            raise RunError(
                "the frozen weights are not those that this run began with: the pretrained weights, or the run that it "
                "started from (init), have changed or are gone; restore them or train anew"
            )
        names = {prefix + name for prefix in prefixes for name in self.names}
        return {**{name: mine[name] for name in names}, **saved}
