//! `dvc export`: archives that other programs read, byte-identical output each time, and images
//! without a container engine.

use crate::support::facts::{Compare, assert_same_by, xattrs};
use crate::support::needs::{is_root, need, run};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::registry::Registry;
use crate::support::zoo;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Creates a sandbox with a zoo in `w/` and a repository next to it. Returns the sandbox and the id
/// of the zoo's tree.
fn zoo() -> (Sandbox, String) {
    let s = Sandbox::new();
    let missing = zoo::build(&s.at("w"));
    assert!(!is_root() || missing.is_empty(), "{missing:?}");
    s.dvc(["init", "--repo", "../r", "-b", "all"]).ok();
    let run = s
        .dvc([
            "--repo",
            "../r",
            "--json",
            "commit",
            "-b",
            "all",
            "-m",
            "everything",
        ])
        .ok();
    let tree = run.json()["tree"].as_str().unwrap().to_owned();
    (s, tree)
}

fn dvc(s: &Sandbox, args: &[&str]) -> Run {
    s.dvc(["--repo", "../r"].iter().chain(args))
}

/// Imports an archive. Returns the id of the new version's tree.
fn imported(s: &Sandbox, args: &[&str], branch: &str) -> String {
    let run = dvc(s, &[&["--json", "import", "-b", branch], args].concat()).ok();
    run.json()["tree"].as_str().unwrap().to_owned()
}

#[test]
fn a_zoo_comes_back_from_a_tar_with_the_same_tree() {
    let (s, tree) = zoo();
    dvc(&s, &["export", "all", "-o", "../zoo.tar"])
        .ok()
        .says("[all@v1 ");
    assert_eq!(imported(&s, &["../zoo.tar"], "back"), tree);
    // A second import creates no new version.
    let again = dvc(&s, &["--json", "import", "../zoo.tar", "-b", "back"])
        .ok()
        .json();
    assert_eq!(
        (again["unchanged"].as_bool(), again["ordinal"].as_u64()),
        (Some(true), Some(1))
    );
    // The output is byte-identical to a pipe, with one thread and with several.
    let first = fs::read(s.at("zoo.tar")).unwrap();
    assert!(dvc(&s, &["-j", "1", "export", "all"]).ok().bytes == first);
    assert!(
        dvc(&s, &["-j", "7", "export", "back", "-o", "-"])
            .ok()
            .bytes
            == first
    );
    for packed in ["gzip -n", "zstd -q"] {
        run(
            "sh",
            &[
                "-ec",
                &format!(
                    "{packed} <'{0}/zoo.tar' >'{0}/zoo.packed'",
                    s.root().display()
                ),
            ],
        );
        assert_eq!(imported(&s, &["../zoo.packed"], "packed"), tree);
    }
    dvc(&s, &["fsck", "--data"]).ok();
}

#[test]
fn gnu_tar_gives_back_what_a_checkout_gives() {
    let (s, _) = zoo();
    dvc(&s, &["checkout", "all", "--into", "../checkout"]).ok();
    dvc(&s, &["export", "all", "-o", "../zoo.tar"]).ok();
    fs::create_dir(s.at("tar")).unwrap();
    let tar = [
        "--numeric-owner",
        "-p",
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "-C",
        "../tar",
        "-xf",
        "../zoo.tar",
    ];
    let out = Run::of(s.other(need("tar")).args(tar)).ok();
    // tar warns about the unusual timestamps of the zoo, but must not warn about anything else.
    assert!(
        out.err.lines().all(|line| line.contains("time stamp")),
        "{}",
        out.err
    );
    assert_same_by(&s.at("checkout"), &s.at("tar"), &Compare::default());
    assert!(!is_root() || xattrs(&s.at("tar/attributes/caps")).len() == 1);
}

#[test]
fn archives_of_gnu_tar_make_the_same_tree() {
    let (s, tree) = zoo();
    let tar = |how: &str| {
        let script = format!(
            "tar -C ../w --numeric-owner {how} -cf ../gnu.tar . 2>../tar.err || {{ cat ../tar.err; exit 1; }}"
        );
        s.sh(&script).ok();
        imported(&s, &["../gnu.tar", "--allow-empty"], "gnu")
    };
    let all = "--format=posix --xattrs --xattrs-include=* --sparse";
    for how in [
        "",
        "--acls",
        "--sparse-version=0.0",
        "--sparse-version=0.1",
        "--sort=name",
    ] {
        assert_eq!(tar(&format!("{all} {how}")), tree, "{how}");
    }
    // Remove or normalise everything that the other tar formats cannot represent.
    s.sh("rm -rf attributes; find . -exec touch -h -d @1500000000 {} +")
        .ok();
    let run = s
        .dvc([
            "--repo", "../r", "--json", "commit", "-b", "plain", "-m", "x",
        ])
        .ok();
    let plain = run.json()["tree"].as_str().unwrap().to_owned();
    for how in [
        "--format=gnu --sparse",
        "--format=oldgnu --sparse",
        "--format=posix -S",
    ] {
        assert_eq!(tar(how), plain, "{how}");
    }
    s.sh("rm -rf names sparse deep 'owners' 'special/char big'; rm -f links/sym*; find . -exec touch -h -d @1500000000 {} +").ok();
    let run = s
        .dvc([
            "--repo", "../r", "--json", "commit", "-b", "plain", "-m", "y",
        ])
        .ok();
    let plain = run.json()["tree"].as_str().unwrap().to_owned();
    assert_eq!(tar("--format=ustar"), plain);
}

#[test]
fn paths_and_prefixes() {
    let s = super::three();
    let names = |args: &[&str]| {
        let script = format!(
            "dvc export {} | tar -tf - | sort | tr '\\n' ' '",
            args.join(" ")
        );
        s.sh(&script).ok().out.trim_end().to_owned()
    };
    assert_eq!(names(&["main"]), "./ a.txt d/ d/big d/more");
    assert_eq!(names(&["main", "--path", "d/big"]), "d/ d/big");
    assert_eq!(names(&["main:d"]), "d/ d/big d/more");
    assert_eq!(
        names(&["--path", "d/more", "--path", "a.txt", "--path", "d/more"]),
        "a.txt d/ d/more"
    );
    assert_eq!(
        names(&["main~2", "--prefix", "x/y/"]),
        "x/ x/y/ x/y/a.txt x/y/d/ x/y/d/big"
    );
    s.dvc(["export", "main", "--path", "none"])
        .code(13)
        .complains("`none` is not in `main`");
    s.dvc(["export", "main", "--prefix", "a/../b"]).code(2);
    s.dvc(["export", "none"]).code(13);
    s.dvc(["export", "-o", "s3://bucket/x"]).code(2);
    s.dvc(["export", "-o", "oci://127.0.0.1:1/a:b"])
        .code(2)
        .complains("--format oci");
}

#[test]
fn importing_a_part_changes_nothing_else() {
    let s = super::fresh();
    s.write("one/a", "1");
    s.write("two/b", "2");
    super::commit(&s, "first", 1);
    s.dvc(["export", "--path", "one", "-o", "../one.tar"]).ok();
    s.write("one/a", "changed");
    s.write("two/b", "changed");
    super::commit(&s, "second", 2);
    s.dvc([
        "import",
        "../one.tar",
        "--path",
        "one",
        "-m",
        "one as it was",
    ])
    .ok()
    .says("1 file changed");
    let diff = s.dvc(["diff", "--name-status", "main~1", "main"]).ok().out;
    assert_eq!(diff, "M\tone/a\n");
    s.dvc(["diff", "--exit-code", "main~2:one", "main:one"])
        .code(0);
    s.dvc(["import", "../one.tar", "--path", "two"])
        .code(13)
        .complains("contains nothing in `two`");
}

#[test]
fn output_files_are_complete_and_a_closed_pipe_is_no_error() {
    let s = super::fresh();
    s.write("big", zoo::noise(1, 8 << 20));
    super::commit(&s, "big", 1);
    let run = s.sh("set +o pipefail; dvc export 2>err | head -c 100 | wc -c; echo ${PIPESTATUS[0]} $(cat err)").ok();
    assert_eq!(run.out, "100\n141\n");
    fs::write(s.w("there"), "old").unwrap();
    // A killed export leaves the old file unchanged and no partial file next to it.
    let mut child = s
        .command(["export", "-o", "there", "--limit-up", "1"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(s.read("there") == b"old" || s.read("there").len() > 8 << 20);
    s.dvc(["export", "-o", "missing/x.tar"]).code(13);
    let before = fs::read_dir(s.at("w")).unwrap().count();
    s.dvc(["export", "-o", "fine.tar"]).ok();
    assert_eq!(fs::read_dir(s.at("w")).unwrap().count(), before + 1);
}

#[test]
fn a_damaged_version_is_no_archive() {
    let s = super::fresh();
    s.write("big", zoo::noise(1, 3 << 20));
    super::commit(&s, "big", 1);
    s.sh("for p in .dvcs/packs/*/*; do chmod u+w $p; dd if=/dev/zero of=$p bs=1 seek=50000 count=100 conv=notrunc status=none; done").ok();
    s.dvc(["export", "-o", "x.tar"]).code(5);
    assert!(!s.w("x.tar").exists());
}

#[test]
fn an_image_is_a_layout_and_what_docker_load_takes() {
    let (s, tree) = zoo();
    dvc(
        &s,
        &["export", "all", "--format", "oci", "-o", "../image.tar"],
    )
    .ok()
    .says("as `all:v1`");
    let first = fs::read(s.at("image.tar")).unwrap();
    assert!(
        dvc(&s, &["export", "all", "--format", "oci"]).ok().bytes == first,
        "it is not the same"
    );
    fs::create_dir(s.at("image")).unwrap();
    run(
        "tar",
        &[
            "-C",
            s.at("image").to_str().unwrap(),
            "-xf",
            s.at("image.tar").to_str().unwrap(),
        ],
    );
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(s.at("image").join(name)).unwrap()).unwrap()
    };
    assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
    let saved = &json("manifest.json")[0];
    assert_eq!(saved["RepoTags"][0], "all:v1");
    let blob = |digest: &serde_json::Value| {
        format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"))
    };
    let manifest = json(&blob(&json("index.json")["manifests"][0]["digest"]));
    assert_eq!(
        blob(&manifest["config"]["digest"]),
        saved["Config"].as_str().unwrap()
    );
    assert_eq!(
        blob(&manifest["layers"][0]["digest"]),
        saved["Layers"][0].as_str().unwrap()
    );
    let config = json(saved["Config"].as_str().unwrap());
    let labels = &config["config"]["Labels"];
    let show = dvc(&s, &["--json", "show", "all"]).ok().json();
    assert_eq!(labels["dvc.version"], show["id"]);
    assert_eq!(
        (&labels["dvc.branch"], &labels["dvc.ordinal"]),
        (&"all".into(), &"1".into())
    );
    assert_eq!(labels["dvc.prefix"], "/source");
    assert!(config["config"]["Volumes"]["/source"].is_object());
    for blob in fs::read_dir(s.at("image/blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let sum = run("sha256sum", &[path.to_str().unwrap()]);
        assert!(sum.starts_with(path.file_name().unwrap().to_str().unwrap()));
    }
    // Import the image from a file, from a pipe and compressed. Without --strip, the import removes
    // the path prefix of the image.
    assert_eq!(imported(&s, &["../image.tar"], "back"), tree);
    let piped = s
        .dvc_with(
            ["--repo", "../r", "--json", "import", "-", "-b", "piped"],
            &first,
        )
        .ok();
    assert_eq!(piped.json()["tree"], tree.as_str());
    run("gzip", &["-n", s.at("image.tar").to_str().unwrap()]);
    assert_eq!(
        imported(&s, &["../image.tar.gz", "--format", "oci"], "packed"),
        tree
    );
    assert_eq!(
        imported(
            &s,
            &["../image.tar.gz", "--format", "oci", "--image", "all:v1"],
            "named"
        ),
        tree
    );
    dvc(
        &s,
        &[
            "import",
            "../image.tar.gz",
            "--format",
            "oci",
            "--image",
            "other",
        ],
    )
    .code(13)
    .complains("only");
    // Import the image without removing the prefix.
    dvc(
        &s,
        &[
            "import",
            "../image.tar.gz",
            "--format",
            "oci",
            "--strip",
            "/",
            "-b",
            "whole",
        ],
    )
    .ok();
    assert_eq!(dvc(&s, &["ls", "whole"]).ok().out, "source/\n");
    dvc(&s, &["export", "all", "--format", "oci", "--name", "Bad"]).code(2);
    fs::remove_dir_all(s.at("image")).unwrap();
    assert!(
        fs::read_dir(s.at("home/cache/dvc")).map_or(0, |d| d
            .filter(|e| {
                e.as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with("export")
            })
            .count())
            == 0
    );
}

#[test]
fn an_image_goes_to_a_registry_and_comes_back() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let (s, tree) = zoo();
    let url = registry.url("team/data");
    let image = format!("{url}:v1");
    let run = dvc(
        &s,
        &["--json", "export", "all", "--format", "oci", "-o", &image],
    )
    .ok()
    .json();
    let digest = run["digest"].as_str().unwrap().to_owned();
    assert_eq!(imported(&s, &[&image], "pulled"), tree);
    assert_eq!(
        imported(&s, &[&format!("{url}@{digest}")], "by-digest"),
        tree
    );
    // The same version gives the same image, and no blob is sent twice.
    let uploads = || {
        let log = fs::read_to_string(registry.access_log()).unwrap();
        log.lines()
            .filter(|l| l.contains("PUT /v2/team/data/blobs/uploads"))
            .count()
    };
    let before = uploads();
    let again = dvc(
        &s,
        &[
            "--json",
            "export",
            "pulled",
            "--format",
            "oci",
            "-o",
            &format!("{url}:latest"),
        ],
    )
    .ok()
    .json();
    assert_ne!(
        again["digest"],
        digest.as_str(),
        "labels name another branch"
    );
    let again = dvc(
        &s,
        &["--json", "export", "all", "--format", "oci", "-o", &image],
    )
    .ok()
    .json();
    assert_eq!(again["digest"], digest.as_str());
    assert_eq!(uploads(), before + 1, "one config and no layer");
    dvc(&s, &["import", &format!("{url}:none")])
        .code(13)
        .complains("no image `");
    dvc(&s, &["import", &format!("{url}@sha256:00")])
        .code(2)
        .complains("neither a tag nor a SHA-256 digest");
    dvc(&s, &["import", &format!("{url}:%2e%2e")]).code(2);
    dvc(&s, &["import", &format!("{url}@sha256:{}", "0".repeat(64))]).code(13);
    dvc(&s, &["--offline", "import", &image]).code(6);
    // A dvc repository in a registry is not an image.
    dvc(&s, &["push", &registry.url("team/repo"), "all"]).ok();
    let tags = String::from_utf8(
        crate::support::servers::http::ask(
            "GET",
            &format!("{}/v2/team/repo/tags/list", registry.endpoint()),
            &[],
            b"",
        )
        .unwrap()
        .body,
    )
    .unwrap();
    let tag = tags
        .split('"')
        .find(|t| t.starts_with("index-"))
        .unwrap()
        .to_owned();
    dvc(
        &s,
        &["import", &format!("{}:{tag}", registry.url("team/repo"))],
    )
    .code(2)
    .complains("dvc clone");
}

#[test]
fn a_registry_requires_its_password() {
    let Some(registry) = Registry::with_password() else {
        return;
    };
    use crate::support::servers::registry::{PASSWORD, USER};
    let mut s = super::three();
    let image = format!("{}:v1", registry.url("data"));
    s.dvc(["export", "--format", "oci", "-o", &image]).code(12);
    s.set("REGISTRY_USERNAME", USER)
        .set("REGISTRY_PASSWORD", PASSWORD);
    s.dvc(["export", "--format", "oci", "-o", &image]).ok();
    s.dvc(["import", &image, "-b", "back"]).ok();
    s.dvc(["diff", "--exit-code", "main", "back"]).code(0);
}

/// Runs a command and returns its peak memory in bytes.
fn peak(c: &mut Command) -> u64 {
    let mut child = c.stdout(Stdio::null()).spawn().unwrap();
    let status = Path::new("/proc")
        .join(child.id().to_string())
        .join("status");
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .unwrap_or("0 kB");
        peak = peak.max(
            line.trim()
                .trim_end_matches(" kB")
                .parse::<u64>()
                .unwrap_or(0)
                << 10,
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn memory_does_not_grow_with_files() {
    let s = super::fresh();
    // 300 MiB that compress well, so that they are stored fast.
    let piece = [zoo::prose(1, 1 << 19), zoo::noise(2, 1 << 16)].concat();
    let mut file = fs::File::create(s.w("big")).unwrap();
    for n in 0u64..500 {
        std::io::Write::write_all(&mut file, &[&n.to_le_bytes(), piece.as_slice()].concat())
            .unwrap();
    }
    drop(file);
    super::commit(&s, "big", 1);
    let out = peak(
        s.command(["-j", "2", "export", "-o", "../big.tar"])
            .arg("-q"),
    );
    assert!(fs::metadata(s.at("big.tar")).unwrap().len() > 280 << 20);
    let into = peak(
        s.command(["-j", "2", "import", "../big.tar", "-b", "back", "-q"])
            .arg("-q"),
    );
    s.dvc(["diff", "--exit-code", "main", "back"]).code(0);
    let limit = 180 << 20;
    assert!(
        out < limit && into < limit,
        "export took {} MiB, import {} MiB",
        out >> 20,
        into >> 20
    );
}
