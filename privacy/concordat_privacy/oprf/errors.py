"""What can go wrong between an identifier and its token.

No message carries an input, a scalar or a token: only positions, lengths and reasons.
"""


class OprfError(Exception):
    """Base of every error of this package."""


class SodiumUnavailable(OprfError):
    """No usable libsodium was found; the text says how to get one."""


class LengthInvalid(OprfError):
    """A fixed-length value, or the whole of a packed field, has the wrong length."""


class BatchInvalid(OprfError):
    """A batch is empty, too large, or its parts do not have the same number of items."""


class ItemInvalid(OprfError):
    """One item of a batch is wrong.

    Attributes:
        index: position of the item in its batch, from 0.
        reason: what is wrong with it.
    """

    def __init__(self, what: str, index: int, reason: str) -> None:
        super().__init__(f"{what} {index}: {reason}")
        self.index = index
        self.reason = reason

    def __reduce__(self) -> tuple[type["ItemInvalid"], tuple[int, str]]:
        # Subclasses take (index, reason); Exception's own would replay the rendered text.
        return type(self), (self.index, self.reason)


class ElementInvalid(ItemInvalid):
    """An element is short, not canonical, or the identity (RFC 9497 DeserializeError)."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__("element", index, reason)


class ScalarInvalid(ItemInvalid):
    """A scalar is short, not reduced modulo the group order, or zero."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__("scalar", index, reason)


class InputInvalid(ItemInvalid):
    """An input is too long, or hashes to the identity (RFC 9497 InvalidInputError)."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__("input", index, reason)


class KeyInvalid(OprfError):
    """A public or secret key is not one, or cannot be derived from the seed."""


class ProofInvalid(OprfError):
    """The proof does not show that the pinned key evaluated this batch (RFC 9497 VerifyError)."""


class ShareInvalid(ProofInvalid):
    """One holder of a split key did not answer with its share.

    Attributes:
        holder: the holder's number, from 1.
        reason: what is wrong with its answer.
    """

    def __init__(self, holder: int, reason: str) -> None:
        super().__init__(f"key-holder {holder}: {reason}")
        self.holder = holder
        self.reason = reason

    def __reduce__(self) -> tuple[type["ShareInvalid"], tuple[int, str]]:
        return type(self), (self.holder, self.reason)
