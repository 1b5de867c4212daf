"""From packages to documents: what study_text writes."""
import dictionaries
import gzip
import io
import markup
import re
import subprocess
import tarfile

import cleaning


class Unusable(Exception):
    """One line about what is wrong with a package."""


def files_of(package):
    """{path: bytes} of the plain files of a .deb, gzip unpacked where the name
    says so."""
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)],
                          capture_output=True, check=False)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        raise Unusable(f"{package.name} is no Debian package: {words}")
    files = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        for member in tar:
            if member.isfile():
                path = member.name.removeprefix("./")
                data = tar.extractfile(member).read()
                if path.endswith(".gz"):
                    path, data = path.removesuffix(".gz"), gzip.decompress(data)
                files[path] = data
    return files


def _texts_of_file(form, path, files):
    data = files[path]
    if form == "bible":
        return dictionaries.bible(data)
    if form == "dictd":
        return dictionaries.dictd(
            data, files[path.removesuffix(".index") + ".dict.dz"])
    try:
        return [getattr(markup, form)(data.decode("utf-8"))]
    except UnicodeDecodeError:
        return []  # in another encoding


def texts_of(source, files):
    """The clean documents of one source, in the order of their hashes, up to
    the source's share."""
    texts = []
    for path in sorted(files):
        if re.fullmatch(source.files, path):
            texts += map(cleaning.tidy, _texts_of_file(source.form, path, files))
    if not texts:
        raise Unusable(f"{source.package} has no file {source.files}")
    kept = [text for text in cleaning.without_repeats(texts)
            if len(text) >= cleaning.SMALLEST
            and (not source.prose or cleaning.is_prose(text))]
    return sorted(kept, key=cleaning.hash_of)


def collect(sources, package_of, say=lambda words: None):
    """(package, text) of every document, in the order of their hashes: none
    twice, none that is half of what stood before. `package_of(name)` is the path
    of a .deb."""
    seen = cleaning.Seen()
    found = []
    opened, files = None, {}
    for source in sources:
        if source.package != opened:
            opened, files = source.package, files_of(package_of(source.package))
        size, count = 0, 0
        for text in texts_of(source, files):
            if size < source.most and seen.is_new(text):
                found.append((source.package, text))
                size, count = size + len(text.encode()), count + 1
        say(f"{source.package}: {count} documents, {size / 1e6:.1f} MB")
    return sorted(found, key=lambda item: cleaning.hash_of(item[1]))
