# The data sets: the generators (gen-tree.sh, gen-db.sh, gen-image.sh) create them once, then they are kept.
# In: directories of the generators and of the data. Out: two versions of tree, db and image, and a `live` directory
# that is changed from one version to the other in place, so that only differing files get new times, as in a volume.

import glob
import os
import shutil
import subprocess

SETS = ("tree", "db", "image")
# Directories that complete a tree of 170,000 files and 4 GB if the generator's own sources are smaller.
MORE = ("~/.pyenv/versions/2*", "~/.pyenv/versions/3.9*", "/usr/include", "/usr/lib/node_modules", "~/.pyenv/versions/*",
        "/usr/lib/x86_64-linux-gnu", "/usr/lib/jvm", "~/.cargo/registry/src")
WANTED_FILES = 168_000


class Data:
    def __init__(self, root, scripts, small):
        self.root = os.path.join(root, "small") if small else root
        self.scripts, self.small = scripts, small
        self.work = os.path.join(self.root, "work")
        os.makedirs(self.work, exist_ok=True)

    def live(self, name):
        return f"{self.work}/live/{name}"

    def version(self, name, number):
        """Returns the directory (tree, db) or the file (image) of a version."""
        first = "" if number == 1 else str(number)
        return f"{self.root}/" + {"tree": f"tree{first}", "db": f"db{number}", "image": f"image{number}.img"}[name]

    def ensure(self, name, versions=(1, 2)):
        """Creates missing versions. Each is created under a temporary name, so that a partial one is never used."""
        for number in versions:
            path = self.version(name, number)
            if os.path.exists(path):
                continue
            print(f"making {name} version {number}", flush=True)
            part = f"{path}.part"
            subprocess.run(["rm", "-rf", part], check=True)
            if number == 1:
                self._make(name, part)
            else:
                self._copy(self.version(name, 1), part)
                if name == "db":
                    shutil.copy(f"{self.version('db', 1)}.params", f"{part}.params")
                self._mutate(name, part, 1)
            if name == "db":
                os.rename(f"{part}.params", f"{path}.params")
            os.rename(part, path)

    def set_live(self, name, number):
        """Changes live/NAME to version NUMBER. Unchanged files keep inode and times, others are rewritten in place."""
        live, version = self.live(name), self.version(name, number)
        os.makedirs(live, exist_ok=True)
        if name == "image":
            version, live = version, f"{live}/disk.img"
            if not os.path.exists(live):
                return self._copy(version, live)
            subprocess.run(["rsync", "-a", "--inplace", "--no-whole-file", version, live], check=True)
            os.utime(live, ns=(os.stat(version).st_atime_ns, os.stat(version).st_mtime_ns))
            return None
        return subprocess.run(["rsync", "-aHAX", "--delete", "--inplace", "--no-whole-file", f"{version}/", f"{live}/"],
                              check=True)

    def start_chain(self):
        """Creates the database directory that `next_in_chain` changes from version to version."""
        self.drop_chain()
        self._copy(self.version("db", 1), self.live("chain"))
        shutil.copy(f"{self.version('db', 1)}.params", f"{self.live('chain')}.params")
        return self.live("chain")

    def next_in_chain(self, seed):
        self._mutate("db", self.live("chain"), seed)

    def drop_chain(self):
        for path in glob.glob(f"{self.live('chain')}*"):
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)

    def drop_live(self, name):
        shutil.rmtree(self.live(name))

    def facts(self, name):
        """Returns counts and sizes of version 1, and the amount of changes in version 2."""
        root, count = self.version(name, 1), {"files": 0, "directories": 0, "links": 0, "bytes": 0}
        if os.path.isfile(root):
            count |= {"files": 1, "bytes": os.path.getsize(root)}
        for directory, directories, files in os.walk(root):
            count["directories"] += 1
            for entry in files + directories:
                path = os.path.join(directory, entry)
                if os.path.islink(path):
                    count["links"] += 1
                elif os.path.isfile(path):
                    count["files"] += 1
                    count["bytes"] += os.path.getsize(path)
        return count | {"changed": self.changed_bytes(name)}

    def changed_bytes(self, name, block=65536):
        """Returns the bytes of the blocks of version 2 that are new, or differ from version 1 at the same offset."""
        old, new = self.version(name, 1), self.version(name, 2)
        pairs = [(old, new)]
        if os.path.isdir(new):
            pairs = [(p.replace(new, old, 1), p) for p in (os.path.join(d, f) for d, _, fs in os.walk(new) for f in fs)
                     if os.path.isfile(p) and not os.path.islink(p)]
        changed = 0
        for a, b in pairs:
            with open(b, "rb") as right, open(a if os.path.isfile(a) else os.devnull, "rb") as left:
                while part := right.read(block):
                    changed += 0 if part == left.read(block) else len(part)
        return changed

    def _make(self, name, path):
        small = self.small
        if name == "tree":
            self.script("tree", "make", path, *(["5000", "/usr/share/doc", "/usr/lib/python3"] if small else self._sources()))
        elif name == "db":
            self.script("db", "make", path, *(["1", "100000"] if small else []))
        else:
            self.script("image", "make", path, *(["256M", "/usr/lib/python3"] if small else ["4G"]))

    def _mutate(self, name, path, seed):
        less = {"tree": [], "db": ["80", "100"], "image": ["6", "20"]}[name] if self.small else []
        self.script(name, "mutate", path, str(seed), *less)

    def _sources(self):
        """Returns the generator's own sources, followed by other real directories until there are enough files."""
        toolchain = sorted(glob.glob(os.path.expanduser("~/.rustup/toolchains/stable*")))[:1]
        sources, count = [], 0
        for pattern in ("/usr/share", "/usr/lib/google-cloud-sdk", "/usr/lib/python3", *toolchain, *MORE):
            for path in sorted(glob.glob(os.path.expanduser(pattern))):
                if count < WANTED_FILES and path not in sources:
                    sources.append(path)
                    count += sum(len(files) for _, _, files in os.walk(path))
        return ["0", *sources]

    def script(self, name, *args):
        done = subprocess.run([f"{self.scripts}/gen-{name}.sh", *args], capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise RuntimeError(f"gen-{name}.sh {args[0]}: exit {done.returncode}: {done.stderr[-2000:]}")

    @staticmethod
    def _copy(source, target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        subprocess.run(["cp", "-a", "--sparse=auto", source, target], check=True)
