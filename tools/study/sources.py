"""What the study's text is made of: files of Debian packages, what they are,
and how much of each package is taken."""
import dataclasses

MB = 1_000_000


@dataclasses.dataclass(frozen=True)
class Source:
    package: str
    files: str  # a regular expression, of the whole path in the package
    form: str  # a function of markup.py, or "dictd", "bible"
    most: int = 100 * MB  # bytes of text
    prose: bool = True  # documents that are no English prose are left out


_SPHINX = r".*/_sources/.*\.rst\.txt"

# Packages whose versions stand in the main part of Debian 12, which changes no
# more. A text that stands in two of them counts for the first.
SOURCES = [
    # Prose.
    Source("bible-kjv-text", r"usr/lib/bible\.data", "bible", prose=False),
    Source("dict-gcide", r".*\.index", "dictd", 8 * MB, prose=False),
    Source("dict-foldoc", r".*\.index", "dictd", prose=False),
    Source("dict-jargon", r".*\.index", "dictd", prose=False),
    Source("dict-devil", r".*\.index", "dictd", prose=False),
    Source("png-definitive-guide", r".*\.html", "html"),
    # How a system is made and run.
    Source("debian-policy", _SPHINX, "rst"),
    Source("debian-policy", r".*/fhs-3\.0\.html", "html"),
    Source("developers-reference", _SPHINX, "rst"),
    Source("debian-reference-en", r".*\.en\.html", "html"),
    Source("debian-faq", r".*\.en\.html", "html"),
    Source("harden-doc", r".*/html/en-US/.*\.html", "html"),
    Source("maint-guide", r".*/html/[^/]*\.en\.html", "html"),
    Source("linux-doc-6.1", _SPHINX, "rst", 12 * MB),
    Source("manpages", r"usr/share/man/man\d/.*", "man"),
    Source("manpages-dev", r"usr/share/man/man\d/.*", "man"),
    # How programs are written and used.
    Source("python3.11-doc", _SPHINX, "rst"),
    Source("perl-doc", r".*\.pod", "pod"),
    Source("postgresql-doc-15", r".*/html/.*\.html", "html"),
    Source("git-doc", r".*\.txt", "plain"),
    Source("vim-runtime", r".*/doc/.*\.txt", "vim_help", 3 * MB),
    Source("sqlite3-doc", r".*\.html", "html", 3 * MB),
    # Programs.
    Source("python3-sympy", r"(?!.*/(tests|rubi)/).*\.py", "source", 3 * MB,
           prose=False),
    Source("python3-networkx", r"(?!.*/tests/).*\.py", "source", 2 * MB,
           prose=False),
]
