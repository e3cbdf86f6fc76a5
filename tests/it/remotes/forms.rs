//! Every documented form of a URL is accepted and stored in its normal form.

use crate::support::sandbox::Sandbox;

#[test]
fn old_forms_become_new_ones() {
    // Use a separate repository, because a remote must not be inside its own worktree.
    let mut s = Sandbox::new();
    s.dvc(["--repo", "../r", "init"]).ok();
    let repository = s.at("r").display().to_string();
    s.set("DVC_REPO", &repository);
    let here = s.w("").canonicalize().unwrap();
    let here = here.display().to_string();
    let here = here.trim_end_matches('/');
    let table = [
        ("scp://me@host:path", "sftp://me@host/~/path".to_owned()),
        (
            "scp://me@host:/srv/path",
            "sftp://me@host/srv/path".to_owned(),
        ),
        (
            "scp://me@host:2222/srv/path",
            "sftp://me@host:2222/srv/path".to_owned(),
        ),
        ("me@host:path", "sftp://me@host/~/path".to_owned()),
        ("ssh://host/srv", "sftp://host/srv".to_owned()),
        (
            "minio://localhost:9000/bucket/dir",
            "s3://bucket/dir?endpoint=http://localhost:9000".to_owned(),
        ),
        (
            "minio://nas:9000/bucket",
            "s3://bucket?endpoint=https://nas:9000".to_owned(),
        ),
        (
            "s3://bucket@eu-west-1/",
            "s3://bucket?region=eu-west-1".to_owned(),
        ),
        ("gcs://bucket/p", "gs://bucket/p".to_owned()),
        (
            "azure://account/container",
            "azblob://account/container".to_owned(),
        ),
        ("davs://me@host/x", "webdavs://me@host/x".to_owned()),
        ("cp:///srv/x", "file:///srv/x".to_owned()),
        ("vfs:///srv/x", "file:///srv/x".to_owned()),
        ("vfs://srv/x", format!("file://{here}/srv/x")),
        ("srv/x", format!("file://{here}/srv/x")),
        ("/srv/x/", "file:///srv/x".to_owned()),
    ];
    for (n, (given, _)) in table.iter().enumerate() {
        s.dvc(["remote", "add", &format!("r{n}"), given, "--offline"])
            .ok();
    }
    let listed = s.dvc(["remote", "list", "--json"]).ok().json_lines();
    assert_eq!(listed.len(), table.len());
    for (n, (given, normal)) in table.iter().enumerate() {
        let one = listed
            .iter()
            .find(|r| r["name"] == format!("r{n}"))
            .unwrap();
        assert_eq!(one["url"], *normal, "{given}");
        // Normalising a normal form does not change it.
        s.dvc(["remote", "set", &format!("r{n}"), normal, "--offline"])
            .ok();
    }
    assert_eq!(
        s.dvc(["remote", "list", "--json"]).ok().json_lines(),
        listed
    );
}

/// The old schemes for directories are accepted if the directory exists.
#[test]
fn old_words_for_directories_are_used() {
    let s = Sandbox::with_repo();
    s.write("data", "data");
    s.dvc(["commit", "-m", "one"]).ok();
    let dir = s.at("far").display().to_string();
    s.dvc(["remote", "add", "origin", &format!("cp://{dir}")])
        .ok()
        .says("none yet; the first push creates it");
    s.dvc(["push"]).ok();
    for url in [
        format!("cp://{dir}"),
        format!("vfs://{dir}"),
        format!("file://{dir}"),
        dir,
    ] {
        s.dvc(["--repo", &url, "log", "--format=%s"])
            .ok()
            .says("one\n");
        s.dvc(["clone", &url, "copy"]).ok();
        assert_eq!(s.read("copy/data"), b"data");
        std::fs::remove_dir_all(s.w("copy")).unwrap();
    }
}

/// The environment variables of the old sidecar name the same remote in three ways.
#[test]
fn the_environment_names_a_remote() {
    let listed = |set: &[(&str, &str)]| {
        let mut s = Sandbox::with_repo();
        for (name, value) in set {
            s.set(name, value);
        }
        s.dvc(["remote", "list", "--json"])
            .ok()
            .json_lines()
            .into_iter()
            .map(|r| r["url"].clone())
            .collect::<Vec<_>>()
    };
    let url = "oci://registry.example/team/data";
    assert_eq!(
        listed(&[("DATA_TAG", "registry.example/team/data:latest")]),
        [url]
    );
    assert_eq!(
        listed(&[
            ("REGISTRY", "registry.example"),
            ("DATA_TAG", "team/data:latest")
        ]),
        [url]
    );
    assert_eq!(listed(&[("DVC_REMOTE_ORIGIN_URL", url)]), [url]);
    assert_eq!(
        listed(&[("DATA_S3_DST", "s3://bucket@eu-west-1/x")]),
        ["s3://bucket/x?region=eu-west-1"]
    );

    assert_eq!(
        listed(&[
            ("REGISTRY", "https://registry.example/"),
            ("DATA_TAG", "team/data")
        ]),
        [url]
    );

    // Commands that do not use the remote ignore an invalid setting.
    let mut odd = Sandbox::with_repo();
    odd.set("DATA_TAG", "registry.example/Team/Data");
    odd.dvc(["remote", "list"]).ok();
    odd.write("a", "a");
    odd.dvc(["commit", "-m", "one"]).ok();
    odd.dvc(["push"]).code(2).complains("invalid URL");
    odd.dvc(["--offline", "remote", "add", "origin", "/srv/x"])
        .ok();

    // A configured remote takes precedence over the environment.
    let mut s = Sandbox::with_repo();
    s.dvc(["--offline", "remote", "add", "origin", "/srv/x"])
        .ok();
    s.set("DATA_TAG", "registry.example/team/data");
    assert_eq!(
        s.dvc(["remote", "list"]).ok().out,
        "origin\tfile:///srv/x\n"
    );
}

#[test]
fn an_invalid_url_is_2() {
    let s = Sandbox::with_repo();
    for bad in [
        "http://host/x",
        "s3://",
        "azblob://account",
        "s3://b?colour=red",
        "ftp://x/y",
        "webdav://far.example/x",
        "oci://host/Name",
        "oci://host/name:tag",
    ] {
        let run = s
            .dvc(["remote", "add", "bad", bad])
            .code(2)
            .complains("invalid URL");
        assert!(
            run.err.contains("hint: use a path, or s3://"),
            "{}",
            run.err
        );
        s.dvc(["clone", bad]).code(2);
    }
    assert_eq!(s.dvc(["remote", "list"]).ok().out, "");
}
