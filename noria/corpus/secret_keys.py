"""Private keys, credentials in addresses and settings, API keys and tokens of known services.

In: nothing. Out: their detectors, in the order in which they are tried.
"""

from __future__ import annotations

from noria.corpus.detector import Detector, Match, Range, compiled, has_shape, has_word, secret


def _key(match: Match) -> Range | None:
    return match.span() if any(character.isdigit() for character in match[0]) else None


def _assigned(match: Match) -> Range | None:
    """A value that no word is: a digit in it, and a letter or a sign too."""
    value = match["secret"]
    mixed = any(c.isdigit() for c in value) and not value.replace(".", "").isdigit()
    return match.span("secret") if mixed else None


_NAMES = r"""(?i:access_token|auth_token|token|api_?key|apikey|key|password|passwd|pwd|secret
    |client_secret|signature|sig)"""

_KEY_BEGINNINGS = has_word(
    *("sk-", "nk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "akia"),
    *("asia", "aiza", "xoxa", "xoxb", "xoxe", "xoxo", "xoxp", "xoxr", "xoxs", "hf_", "npm_"),
    *("pypi-", "sk_", "pk_", "rk_", "eyj", "ltai", "akid", "sg."),
)
_SETTING_WORDS = has_word(
    *("bearer ", "password", "passwd", "pwd", "apikey", "密码", "口令", "密钥", "令牌"),
    *("api_", "api-", "api k", "access_", "access-", "access k", "access t", "secret_", "secret-"),
    *("secret k", "client_s", "client s", "client-s", "auth_t", "auth t", "auth-t"),
)

SECRET_KEYS: tuple[Detector, ...] = (
    Detector(
        "PRIVATE_KEY",
        has_word("-----begin"),
        compiled(
            r"-----BEGIN\ [A-Z ]{0,30}PRIVATE\ KEY-----[^-]{1,16000}-----END\ [A-Z ]{1,40}-----"
        ),
    ),
    Detector(
        "CREDENTIALS",
        has_word("://"),
        compiled(
            r"[A-Za-z][A-Za-z0-9+.\-]{1,20}://(?P<secret>[^\s/@:\[\]]{1,200}:[^\s/@\[\]]{1,200})@"
        ),
        secret,
    ),
    Detector(
        "CREDENTIALS",
        has_shape(b"?a", b"&a", b"?A", b"&A"),
        compiled(rf"""[?&]{_NAMES}=(?P<secret>[^&\s\#\[\]"'<>]{{4,2000}})"""),
        secret,
    ),
    Detector(
        "API_KEY",
        _KEY_BEGINNINGS,
        compiled(
            r"""(?<![A-Za-z0-9_\-])(?:
                [sn]k-[A-Za-z0-9_\-]{20,200} | gh[pousr]_[A-Za-z0-9]{30,255}
              | github_pat_[A-Za-z0-9_]{22,255} | glpat-[A-Za-z0-9_\-]{20,100}
              | A[KS]IA[0-9A-Z]{16} | AIza[A-Za-z0-9_\-]{35} | xox[abeoprs]-[A-Za-z0-9\-]{10,250}
              | hf_[A-Za-z0-9]{30,100} | npm_[A-Za-z0-9]{36} | pypi-[A-Za-z0-9_\-]{16,500}
              | [spr]k_(?:live|test)_[A-Za-z0-9]{16,200}
              | eyJ[A-Za-z0-9_\-]{8,4000}\.eyJ[A-Za-z0-9_\-]{8,8000}\.[A-Za-z0-9_\-]{8,4000}
              | LTAI[A-Za-z0-9]{12,26} | AKID[A-Za-z0-9]{13,40}
              | SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}
            )(?![A-Za-z0-9_])"""
        ),
        _key,
    ),
    Detector(
        "CREDENTIALS",
        _SETTING_WORDS,
        compiled(
            r"""(?:(?i:bearer)\ |(?i:(?:api|access|secret|client|auth)[\ _\-]?
                (?:key|token|secret)|password|passwd|pwd)["']?\ ?(?:[:=]|\ is\ )\ ?["']?
              |(?:密码|口令|密钥|令牌)\ ?(?:[:=]|是|为)\ ?["']?)
            (?P<secret>[A-Za-z0-9!$%&*+.\-/=?@^_~]{6,500}(?<![.?!,]))"""
        ),
        _assigned,
    ),
)
