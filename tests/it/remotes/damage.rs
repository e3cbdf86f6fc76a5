//! Remote objects that are truncated, changed or missing. Readers get an error that names the
//! object, and never wrong or partial data. After a repair, all commands continue. Damage in the
//! local cache is repaired automatically.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::support::known::noise;
use super::super::support::sandbox::Sandbox;
use super::super::support::servers::s3::{S3, Switches};

/// A remote with two versions. The sandbox `reader` has a clone of the first one.
struct Scene {
    writer: Sandbox,
    reader: Sandbox,
    place: Place,
}

/// The kind of remote.
enum Place {
    Dir(PathBuf),
    S3(S3),
}

impl Place {
    fn url(&self) -> String {
        match self {
            Self::Dir(dir) => format!("file://{}", dir.display()),
            Self::S3(s3) => s3.url("p"),
        }
    }

    fn keys(&self) -> Vec<String> {
        match self {
            Self::Dir(dir) => {
                let files = super::super::support::known::files_of(dir);
                files
                    .into_keys()
                    .map(|key| String::from_utf8(key).unwrap())
                    .collect()
            }
            Self::S3(s3) => s3
                .keys()
                .iter()
                .filter_map(|key| key.strip_prefix("p/"))
                .map(str::to_owned)
                .collect(),
        }
    }

    fn get(&self, key: &str) -> Vec<u8> {
        match self {
            Self::Dir(dir) => fs::read(dir.join(key)).unwrap(),
            Self::S3(s3) => s3.object(&format!("p/{key}")).unwrap(),
        }
    }

    /// Changes or removes an object in the storage of the remote, without dvc.
    fn set(&self, key: &str, bytes: Option<&[u8]>) {
        match (self, bytes) {
            (Self::Dir(dir), Some(bytes)) => fs::write(dir.join(key), bytes).unwrap(),
            (Self::Dir(dir), None) => fs::remove_file(dir.join(key)).unwrap(),
            (Self::S3(s3), Some(bytes)) if s3.object(&format!("p/{key}")).is_some() => {
                s3.damage(&format!("p/{key}"), |there| *there = bytes.to_vec());
            }
            (Self::S3(s3), Some(bytes)) => {
                let url = format!("{}/bucket/p/{key}", s3.endpoint());
                let put = super::super::support::servers::http::ask("PUT", &url, &[], bytes);
                assert_eq!(put.unwrap().status, 200);
            }
            (Self::S3(s3), None) => s3.lose(&format!("p/{key}")),
        }
    }
}

const BIG: usize = 400_000;

fn scene(place: impl FnOnce(&Sandbox) -> Place) -> Scene {
    let (mut writer, mut reader) = (Sandbox::new(), Sandbox::new());
    let place = place(&writer);
    for s in [&mut writer, &mut reader] {
        s.set("DVC_AUTHOR", "Ann <ann@example.org>");
        if let Place::S3(s3) = &place {
            for (name, value) in s3.env() {
                s.set(name, &value);
            }
        }
    }
    writer.dvc(["init"]).ok();
    writer.dvc(["remote", "add", "origin", &place.url()]).ok();
    writer.write("kept", "kept\n".repeat(2000));
    writer.write("d/big", noise(3, BIG));
    writer.dvc(["commit", "-m", "first"]).ok();
    writer.dvc(["push"]).ok();
    reader.dvc(["clone", &place.url(), "old"]).ok();
    writer.write("d/more", noise(4, BIG));
    writer.write("d/big", [noise(3, BIG), noise(5, 1000)].concat());
    writer.dvc(["commit", "-m", "second"]).ok();
    writer.dvc(["push"]).ok();
    Scene {
        writer,
        reader,
        place,
    }
}

fn bucket() -> Place {
    Place::S3(S3::start(Switches::default()))
}

fn directory(s: &Sandbox) -> Place {
    Place::Dir(s.at("there"))
}

/// Returns the kind of an object, from its key and its header.
fn kind(key: &str, bytes: &[u8]) -> &'static str {
    const KINDS: [[&str; 3]; 2] = [
        ["data pack", "list pack", "tree pack"],
        ["data segment", "list segment", "tree segment"],
    ];
    match key.split('/').next() {
        Some("packs") => KINDS[0][usize::from(bytes[8])],
        Some("index") => KINDS[1][usize::from(bytes[10])],
        Some("refs") => "ref",
        Some("format") => "marker",
        _ => "other",
    }
}

/// Returns the name by which a message identifies an object.
fn name(key: &str) -> String {
    match key.rsplit('/').next() {
        Some("format") => "marker".to_owned(),
        Some(last) => last[..8].to_owned(),
        None => String::new(),
    }
}

fn assert_empty(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        assert_eq!(entry.unwrap().file_name(), ".dvcs", "in {}", dir.display());
    }
}

/// Damages every object that only the second version needs, in every possible way.
fn each_damage(scene: &Scene) {
    let Scene {
        writer,
        reader,
        place,
    } = scene;
    let (url, old) = (place.url(), reader.w("old").display().to_string());
    let before = reader
        .dvc(["-C", &old, "log", "--oneline", "origin/main"])
        .ok()
        .out;
    let mut seen = std::collections::BTreeSet::new();
    for key in place.keys() {
        let bytes = place.get(&key);
        let what = kind(&key, &bytes);
        let newest =
            what != "ref" || place.keys().iter().find(|k| k.starts_with("refs/")) == Some(&key);
        if what == "other" || !newest {
            continue;
        }
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        let (half, gone) = (Some(&bytes[..bytes.len() / 2]), what.ends_with("pack"));
        for damaged in [half, Some(&changed)]
            .into_iter()
            .chain(gone.then_some(None))
        {
            let case = format!(
                "{what} {key}, {:?} of {} bytes",
                damaged.map(<[u8]>::len),
                bytes.len()
            );
            place.set(&key, damaged);
            seen.insert(what);
            let n = seen.len();
            let cache = format!("cache.dir={}", reader.at("fresh cache").display());
            let _ = fs::remove_dir_all(reader.at("fresh cache"));
            let _ = fs::remove_dir_all(reader.w("new"));

            let run = reader.dvc(["-c", &cache, "clone", &url, "new"]);
            assert_eq!(run.code, 5, "clone, {case}: {}", run.err);
            assert!(run.err.contains(&name(&key)), "clone, {case}: {}", run.err);
            assert_empty(&reader.w("new"));

            // The reader keeps its data. Its remote-tracking branch moves only after all objects
            // have arrived.
            let run = reader.dvc(["-c", &cache, "-C", &old, "fetch"]);
            let needed = run.code != 0;
            assert!(
                !needed || run.code == 5 && run.err.contains(&name(&key)),
                "fetch, {case}: {}",
                run.err
            );
            let log = || {
                reader
                    .dvc(["-C", &old, "log", "--oneline", "origin/main"])
                    .ok()
                    .out
            };
            assert_eq!(log() == before, needed, "fetch, {case}");
            reader.dvc(["-C", &old, "fsck", "--data"]).ok();

            let run = reader.dvc(["-c", &cache, "--repo", &url, "fsck", "--data"]);
            assert_eq!(run.code, 5, "fsck, {case}: {}{}", run.out, run.err);
            assert!(
                run.err.contains(&name(&key)),
                "fsck, {case}: {}{}",
                run.out,
                run.err
            );

            place.set(&key, Some(&bytes));
            if needed {
                // Repeating the clone command continues the interrupted clone.
                reader.dvc(["-c", &cache, "clone", &url, "new"]).ok();
                assert_eq!(
                    fs::read(reader.w("new/d/more")).unwrap(),
                    writer.read("d/more"),
                    "{n}"
                );
                assert_eq!(
                    fs::read(reader.w("new/d/big")).unwrap(),
                    writer.read("d/big")
                );
            } else {
                // The fetch did not need the object and has succeeded, so reset the reader to the
                // first version.
                reader.dvc(["-C", &old, "remote", "rm", "origin"]).ok();
                fs::remove_dir_all(reader.w("old")).unwrap();
                return_to_first(scene);
            }
        }
    }
    for what in [
        "data pack",
        "tree pack",
        "data segment",
        "tree segment",
        "ref",
        "marker",
    ] {
        assert!(seen.contains(what), "no {what} in {seen:?}");
    }
}

/// Replaces the clone, which has fetched newer versions, by a clone of the first version.
fn return_to_first(scene: &Scene) {
    let Scene { reader, place, .. } = scene;
    let newest = place
        .keys()
        .into_iter()
        .find(|k| k.starts_with("refs/"))
        .unwrap();
    let bytes = place.get(&newest);
    place.set(&newest, None);
    reader.dvc(["clone", &place.url(), "old"]).ok();
    place.set(&newest, Some(&bytes));
}

#[test]
fn each_object_of_a_bucket() {
    each_damage(&scene(|_| bucket()));
}

#[test]
fn each_object_of_a_directory() {
    each_damage(&scene(directory));
}

/// Returns the files of the block cache.
fn blocks(s: &Sandbox) -> Vec<PathBuf> {
    let root = s.at("home/cache/dvc/blocks");
    let files = super::super::support::known::files_of(&root);
    let path = |name: Vec<u8>| root.join(String::from_utf8(name).unwrap());
    files.into_keys().map(path).collect()
}

#[test]
fn a_damaged_cache_heals_itself() {
    let Scene {
        writer,
        reader,
        place,
    } = scene(|_| bucket());
    let url = place.url();
    let read = || {
        for path in ["d/more", "d/big", "kept"] {
            let run = reader.dvc(["--repo", &url, "show", &format!("main:{path}")]);
            assert_eq!(run.code, 0, "{}", run.err);
            assert!(run.bytes == writer.read(path), "{path}");
        }
    };
    let wrong = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        for byte in bytes.iter_mut().skip(4096) {
            *byte ^= 0x55;
        }
        fs::write(path, bytes).unwrap();
    };
    let short = |path: &Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let gone = |path: &Path| fs::remove_file(path).unwrap();
    let damages: [&dyn Fn(&Path); 3] = [&wrong, &short, &gone];
    for damage in damages {
        read();
        let all = blocks(&reader);
        let mut healed = Vec::new();
        for path in &all {
            let before = fs::read(path).unwrap();
            damage(path);
            read();
            let name = path.file_name().unwrap().to_str().unwrap();
            if fs::read(path).is_ok_and(|now| now == before) {
                healed.push(name.split('-').next().unwrap().to_owned());
            }
            fs::write(path, before).unwrap();
        }
        // A read does not use every block of the cache.
        for what in ["packs", "index"] {
            assert!(
                healed.iter().filter(|h| *h == what).count() >= 2,
                "{healed:?} of {all:?}"
            );
        }
    }
}

/// If a file cannot be restored, the error has its name and not that of the temporary file.
#[test]
fn a_lost_file_is_named() {
    let s = Sandbox::with_repo();
    s.write("dir/lost", noise(1, 300_000));
    s.dvc(["commit", "-m", "one"]).ok();
    for pack in super::place::below(&s.w(".dvcs/packs")) {
        if super::place::is_data(&fs::read(&pack).unwrap()) {
            fs::remove_file(pack).unwrap();
        }
    }
    s.write("dir/lost", "changed");
    let run = s
        .dvc(["checkout", "-f", "main"])
        .code(5)
        .complains("`dir/lost`: not restored");
    assert!(!run.err.contains(".dvc-tmp"), "{}", run.err);
}

/// A damaged local pack is not pushed, because other clones would rely on it.
#[test]
fn a_damaged_pack_is_not_pushed() {
    let s = Sandbox::with_repo();
    s.write("data", noise(1, 300_000));
    s.dvc(["commit", "-m", "one"]).ok();
    let far = s.at("far").display().to_string();
    let packs = super::place::below(&s.w(".dvcs/packs"));
    for (n, pack) in packs.iter().enumerate() {
        let whole = fs::read(pack).unwrap();
        let (mut changed, cut) = (whole.clone(), &whole[..whole.len() - 1]);
        changed[whole.len() / 2] ^= 1;
        for bytes in [Some(changed.as_slice()), Some(cut), None] {
            fs::remove_file(pack).unwrap();
            bytes
                .iter()
                .for_each(|bytes| fs::write(pack, bytes).unwrap());
            let name = pack.file_name().unwrap().to_str().unwrap();
            let refused = s.dvc(["push", &far]).code(5);
            assert!(refused.err.contains(&name[..8]) || n > 0, "{}", refused.err);
            s.dvc(["--repo", &far, "log"]).code(10);
        }
        fs::write(pack, &whole).unwrap();
    }
    s.dvc(["push", &far]).ok();
    s.dvc(["--repo", &far, "fsck", "--data"])
        .ok()
        .says("no damage");
}
