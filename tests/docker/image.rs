//! Tests the images that `dvc export` creates and `dvc import` reads, with an unmodified engine.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::engine::Engine;
use crate::support::facts::{Compare, assert_same_by};
use crate::support::needs::run;
use crate::support::sandbox::Sandbox;
use crate::support::servers::registry::Registry;
use crate::support::zoo;

/// Creates a repository with a version of two volumes. The volumes contain everything that an
/// engine preserves.
fn volumes() -> (Sandbox, String) {
    let mut s = Sandbox::new();
    s.set("DVC_AUTHOR", "Ann <ann@example.org>");
    s.write("db/data", zoo::noise(1, 3_000_000));
    s.write("db/empty", "");
    s.write("web/index", "<html>");
    let script = "
        ln db/data web/hard; ln -s ../db/data web/sym; ln -s /nowhere web/dangling; mkfifo db/fifo; mkdir db/dir
        chown 1000:1001 db/data db/dir; chmod 4755 db/data; chmod 1777 db/dir; setfattr -n user.note -v text web/index
        setcap cap_net_bind_service+ep web/index; mknod db/null c 1 3; truncate -s 5M db/sparse
        printf x | dd of=db/sparse bs=1 seek=4000000 conv=notrunc status=none
        printf x > \"$(printf 'web/\\377 name')\"
        find . -exec touch -h -d @1500000000 {} +";
    s.sh(script).ok();
    s.dvc(["init", "--repo", "../r", "-b", "data"]).ok();
    let run = s
        .dvc([
            "--repo", "../r", "--json", "commit", "-b", "data", "-m", "volumes",
        ])
        .ok();
    let tree = run.json()["tree"].as_str().unwrap().to_owned();
    (s, tree)
}

fn imported(s: &Sandbox, args: &[&str], branch: &str) -> String {
    let run = s
        .dvc([&["--repo", "../r", "--json", "import", "-b", branch], args].concat())
        .ok();
    run.json()["tree"].as_str().unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_exported_image_is_loaded_copied_from_and_handed_on() {
    let Some(engine) = Engine::start() else {
        return;
    };
    let (s, tree) = volumes();
    let image = s.at("image.tar");
    s.dvc([
        "--repo",
        "../r",
        "export",
        "data",
        "--format",
        "oci",
        "-o",
        text(&image),
    ])
    .ok();
    assert!(
        engine
            .docker(["load", "-i", text(&image)])
            .contains("data:v1")
    );
    let labels = engine.docker(["inspect", "--format", "{{json .Config.Labels}}", "data:v1"]);
    assert!(
        labels.contains("\"dvc.branch\":\"data\"") && labels.contains(&tree),
        "{labels}"
    );

    // Create a container as a source of files. It is never started.
    engine.docker(["create", "--name", "source", "data:v1", "x"]);
    engine.docker(["cp", "-a", "source:/source", text(&s.at("copy"))]);
    s.dvc([
        "--repo",
        "../r",
        "checkout",
        "data",
        "--into",
        "../checkout",
    ])
    .ok();
    // Remove the properties that `docker cp` does not preserve: xattrs, owners, holes, hard links.
    for dir in ["copy", "checkout"] {
        s.sh(&format!(
            "cd ../{dir}; setfattr -x user.note web/index || true; setfattr -x security.capability web/index || true
            rm db/data web/hard db/sparse; chown -hR 0:0 .; find . -depth -exec touch -h -d @1500000000 {{}} +"
        ))
        .ok();
    }
    assert_same_by(&s.at("checkout"), &s.at("copy"), &Compare::default());

    // Use the image's volumes in a second container.
    let sum = "cat /source/db/data | sha256sum; stat -c '%u %g %a %h' /source/db/data; readlink /source/web/sym; stat -c '%u %g %a' /source/db/dir; wc -c </source/db/sparse";
    let there = engine.docker([
        "run",
        "--rm",
        "--volumes-from",
        "source",
        engine.image(),
        "sh",
        "-c",
        sum,
    ]);
    let noise = s.at("noise");
    fs::write(&noise, zoo::noise(1, 3_000_000)).unwrap();
    let expected = run("sha256sum", &[text(&noise)]);
    assert_eq!(there.lines().next().unwrap()[..64], expected[..64]);
    assert_eq!(there.lines().nth(1), Some("1000 1001 4755 2"));
    assert_eq!(there.lines().nth(2), Some("../db/data"));
    assert_eq!(there.lines().nth(3), Some("1000 1001 1777"));
    assert_eq!(there.lines().nth(4), Some("5242880"));

    // Build an image on top of it.
    fs::create_dir(s.at("build")).unwrap();
    fs::write(
        s.at("build/Dockerfile"),
        "FROM data:v1 AS data\nFROM busybox\nCOPY --from=data /source/web/index /index\n",
    )
    .unwrap();
    let mut build = engine.command(["build", "-q", "-t", "derived", text(&s.at("build"))]);
    let out = build.env("DOCKER_BUILDKIT", "0").output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(
        engine.docker(["run", "--rm", "derived", "cat", "/index"]),
        "<html>"
    );

    // The image that the engine saves still contains the same version.
    engine.docker(["save", "-o", text(&s.at("saved.tar")), "data:v1"]);
    assert_eq!(imported(&s, &["../saved.tar"], "saved"), tree);
    let mut save = engine
        .command(["save", "data:v1", engine.image()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut import = s.command([
        "--repo", "../r", "--json", "import", "-", "-b", "piped", "--image", "data:v1",
    ]);
    let out = import.stdin(save.stdout.take().unwrap()).output().unwrap();
    assert!(
        save.wait().unwrap().success() && out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(String::from_utf8_lossy(&out.stdout).contains(&tree));
}

#[test]
fn an_image_goes_through_a_registry_in_both_directions() {
    let (Some(engine), Some(registry)) = (Engine::start(), Registry::start()) else {
        return;
    };
    let (s, tree) = volumes();
    let url = registry.url("team/data");
    let name = url.strip_prefix("oci://").unwrap();
    s.dvc([
        "--repo",
        "../r",
        "export",
        "data",
        "--format",
        "oci",
        "-o",
        &format!("{url}:v1"),
    ])
    .ok();
    engine.docker(["pull", "-q", &format!("{name}:v1")]);
    engine.docker(["create", "--name", "pulled", &format!("{name}:v1"), "x"]);
    engine.docker(["cp", "pulled:/source/web/index", text(&s.at("index"))]);
    assert_eq!(fs::read_to_string(s.at("index")).unwrap(), "<html>");
    // Import the image after the engine has pushed it.
    engine.docker(["tag", &format!("{name}:v1"), &format!("{name}:again")]);
    engine.docker(["push", "-q", &format!("{name}:again")]);
    assert_eq!(imported(&s, &[&format!("{url}:again")], "again"), tree);
}

#[test]
fn an_old_data_image_is_read_back() {
    let (Some(engine), Some(registry)) = (Engine::start(), Registry::start()) else {
        return;
    };
    let s = Sandbox::new();
    s.dvc(["init", "--repo", "../r", "-b", "main"]).ok();
    // An image with volumes below /source and a root file system. One volume is a directory, the
    // other is a packed file.
    s.sh("mkdir -p ../old/source/var/lib/mysql ../old/source/etc/app ../old/bin; echo 1 >../old/source/var/lib/mysql/ibdata1
        echo 2 >../old/source/etc/app/conf; chown 999:999 ../old/source/var/lib/mysql/ibdata1; echo sh >../old/bin/sh
        find ../old -exec touch -h -d @1500000000 {} +
        mkdir ../packed; tar -C ../old -czf ../packed/data.tar.gz source; cp -a ../old/bin ../packed/").ok();
    let url = registry.url("example");
    let name = url.strip_prefix("oci://").unwrap();
    for (root, tag) in [("old", "latest"), ("packed", "packed")] {
        engine.import(&s.at(root), &format!("{name}:{tag}"));
        engine.docker(["push", "-q", &format!("{name}:{tag}")]);
        let image = format!("{url}:{tag}");
        s.dvc([
            "--repo", "../r", "import", "--format", "oci", &image, "--strip", "source", "-b", tag,
        ])
        .ok();
        s.dvc([
            "--repo",
            "../r",
            "checkout",
            tag,
            "--into",
            &format!("../out-{tag}"),
        ])
        .ok();
        assert_same_by(
            &s.at("old/source"),
            &s.at(format!("out-{tag}")),
            &Compare::default(),
        );
    }
}

#[test]
fn layers_are_what_the_engine_makes_of_them() {
    let Some(engine) = Engine::start() else {
        return;
    };
    let s = Sandbox::new();
    s.dvc(["init", "--repo", "../r", "-b", "main"]).ok();
    engine.image();
    fs::create_dir(s.at("build")).unwrap();
    let file = "FROM busybox\n\
        RUN mkdir -p /d/a /d/b /d/c && echo 1 >/d/a/1 && echo 2 >/d/a/2 && echo 3 >/d/b/3 && echo 4 >/d/c/4 && ln /d/c/4 /d/5\n\
        RUN rm /d/a/1 && rm -r /d/b && mkdir /d/b && echo new >/d/b/new && rm -r /d/c && echo file >/d/c\n\
        RUN ln -s /d/a /d/link && ln /d/a/2 /d/again && rm /d/5 && chmod 700 /d/a\n";
    fs::write(s.at("build/Dockerfile"), file).unwrap();
    let mut build = engine.command(["build", "-q", "-t", "layers", text(&s.at("build"))]);
    let out = build.env("DOCKER_BUILDKIT", "0").output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    engine.docker(["save", "-o", text(&s.at("saved.tar")), "layers"]);
    engine.docker(["create", "--name", "all", "layers", "x"]);
    engine.docker(["export", "-o", text(&s.at("flat.tar")), "all"]);
    let layered = imported(&s, &["../saved.tar", "--strip", "d"], "layered");
    let flat = imported(&s, &["../flat.tar", "--strip", "d"], "flat");
    let diff = s
        .dvc(["--repo", "../r", "diff", "layered", "flat"])
        .ok()
        .out;
    assert_eq!((layered, diff.as_str()), (flat, ""));
    assert_eq!(
        s.dvc(["--repo", "../r", "ls", "layered"]).ok().out,
        "a/\nagain\nb/\nc\nlink\n"
    );
}
