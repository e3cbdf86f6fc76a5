//! Output on a terminal: no text from a remote controls the terminal, and progress lines fit its
//! width.

use std::fs;
use std::path::Path;

use crate::support::known::noise;
use crate::support::needs::server;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::http::{self, Reply};
use crate::support::servers::s3::{S3, Switches};

/// Control characters that set the window title, hide text, and change the direction of the text.
const HOSTILE: &str = "\x1b]0;title\x07\x1b[8m\u{202e}\u{2066}\u{9b}";

/// Asserts that the output contains no control characters; dvc's own colours are exempt.
#[track_caller]
fn assert_harmless(run: &Run) {
    for text in [&run.out, &run.err] {
        let mut rest = text.as_str();
        while let Some(at) = rest.find('\x1b') {
            let after = &rest[at + 1..];
            let colour = after
                .strip_prefix('[')
                .and_then(|code| code.split_once('m'));
            let own = |code: &str| {
                ["0", "1", "2", "31", "32", "33", "36", "1;31", "1;32"].contains(&code)
            };
            let (_, next) = colour
                .filter(|(code, _)| own(code))
                .unwrap_or_else(|| panic!("dvc {}: {text:?}", run.line));
            rest = next;
        }
        let unsafe_char = |c: char| {
            c.is_control() && !"\n\t\x1b".contains(c)
                || "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{200f}".contains(c)
        };
        assert!(!text.contains(unsafe_char), "dvc {}: {text:?}", run.line);
    }
}

/// Changes the default branch in the marker of a repository.
fn set_default_branch(repository: &Path, name: &str) {
    let path = repository.join("format");
    let text = fs::read_to_string(&path).unwrap();
    let mut marker: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    // Keep the order of the fields and update the checksum, because a marker is compared byte by
    // byte.
    let old = marker["default_branch"].take();
    let line = text
        .lines()
        .next()
        .unwrap()
        .replace(&old.to_string(), &serde_json::to_string(name).unwrap());
    fs::write(
        path,
        format!("{line}\n{}\n", blake3::hash(line.as_bytes()).to_hex()),
    )
    .unwrap();
}

#[test]
fn no_text_of_a_repository_steers_the_terminal() {
    let s = Sandbox::new();
    let branch = "main\u{202e}x";
    s.dvc(["init", "-b", branch]).ok();
    s.write(&format!("a{HOSTILE}"), "one\n");
    let message = format!("first{HOSTILE}\n\nbody{HOSTILE}");
    s.dvc([
        "commit",
        "-m",
        &message,
        "--author",
        "Ann\u{202e} <ann@example.org>",
        "--trailer",
        "Key=value\u{202e}",
    ])
    .ok();
    s.write(&format!("a{HOSTILE}"), "two\n");
    s.dvc(["commit", "-m", &message]).ok();
    s.dvc(["tag", "@gold\u{202e}"]).ok();
    let far = s.at("far");
    let url = far.to_str().unwrap();
    s.dvc(["remote", "add", "origin", url]).ok();
    let look = |line: &[&str]| {
        let run = s.dvc(["--color", "always"].iter().chain(line));
        assert_harmless(&run);
        run
    };
    look(&["push"]).ok();
    s.write("new", "x");
    let at = format!("{branch}@v1");
    for line in [
        &["log"][..],
        &["log", "--oneline", "--graph"],
        &["log", "-g"],
        &["log", "-p"],
        &["log", "--stat"],
        &["show", "--name-status"],
        &["branch", "-a"],
        &["tag"],
        &["ls", "-l"],
        &["status"],
        &["status", "-sb"],
        &["status", "--porcelain"],
        &["diff", "--stat", &at],
        &["diff", "--chunks", &at],
        &["du"],
        &["fetch"],
        &["push", "-n"],
        &["undo", "-n"],
        &["checkout", "-n", "-f", &at],
        &["checkout", "none\u{202e}"],
        &["ls", "none\u{202e}"],
        &["tag", "a\x1bb"],
        &["remote", "rm", "none\x1b\u{202e}"],
        &["log", "--json"],
        &["ls", "--json"],
        &["config", "none\u{202e}"],
        &["none\x1b\u{202e}"],
        &["log", "--none\x1b\u{202e}"],
        &["clone", url, "../copy"],
    ] {
        look(line);
    }
    // JSON and `--format` contain the unchanged message.
    let json = s.dvc(["log", "--json", "-1"]).ok().json();
    assert_eq!(json["message"].as_str().unwrap().trim_end(), message);
    assert_eq!(
        s.dvc(["log", "-1", "--format=%s"]).ok().out,
        format!("first{HOSTILE}\n")
    );
}

#[test]
fn invalid_names_from_a_remote_are_shown_escaped() {
    let s = Sandbox::new();
    s.dvc(["init", "--repo", "../far", "-b", "main"]).ok();
    s.write("a", "one\n");
    s.dvc(["--repo", "../far", "commit", "-b", "main", "-m", "first"])
        .ok();
    let far = s.at("far");
    fs::create_dir(far.join("refs/heads/bad%1b%5b8m%e2%80%ae")).unwrap();
    for entry in fs::read_dir(far.join("refs/heads/main")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(
            entry.path(),
            far.join("refs/heads/bad%1b%5b8m%e2%80%ae")
                .join(entry.file_name()),
        )
        .unwrap();
    }
    let looks = |dir: &str| {
        for line in [
            &["clone", "../far", dir][..],
            &["--repo", "../far", "log", "--all"],
            &["--repo", "../far", "branch"],
        ] {
            assert_harmless(&s.dvc(line));
        }
    };
    looks("../one");
    set_default_branch(&far, &format!("x{HOSTILE}"));
    looks("../two");
    set_default_branch(&far, "x\u{202e}");
    looks("../three");
}

#[test]
fn text_from_a_server_is_shown_escaped() {
    let mut s = Sandbox::new();
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        s.set(name, "key");
    }
    let body = format!("<Error><Code>Denied{HOSTILE}</Code><Message>no{HOSTILE}</Message></Error>");
    let serving = http::serve(move |_| Reply::with(403, body.clone()));
    let url = format!(
        "s3://bucket/p?endpoint=http://127.0.0.1:{}&region=us-east-1",
        serving.port()
    );
    let run = s.dvc(["clone", &url]);
    assert!(run.code != 0);
    assert_harmless(&run);
    assert_harmless(&s.dvc(["--json", "clone", &url]));
}

/// Runs a command line on a terminal with this number of columns. Returns each line that was
/// displayed.
fn drawn(s: &Sandbox, columns: usize, line: &str) -> Vec<String> {
    let script = server("script").unwrap();
    let line = format!("stty cols {columns} rows 24; {line}");
    let mut c = s.other(script);
    c.args(["-qefc", &line, "/dev/null"]).env("TERM", "xterm");
    let run = Run::of(&mut c).ok();
    let mut text = String::new();
    let mut rest = run.out.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        text.push_str(before);
        text.push('\r');
        rest = after
            .trim_start_matches(|c: char| c.is_ascii_digit() || ";?".contains(c))
            .get(1..)
            .unwrap_or_default();
    }
    text.push_str(rest);
    text.split(['\r', '\n'])
        .map(|line| line.trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// Progress lines do not wrap on a narrow terminal. Bytes count as sent only when the store has
/// accepted them.
#[test]
fn progress_fits_the_terminal() {
    if server("script").is_none() {
        return;
    }
    let mut s = Sandbox::with_repo();
    let s3 = S3::start(Switches::default());
    for (name, value) in s3.env() {
        s.set(name, &value);
    }
    s.write("noise", noise(1, 1_500_000));
    s.dvc(["commit", "-m", "first"]).ok();
    for columns in [80, 40] {
        let url = s3.url(&format!("p{columns}"));
        let lines = drawn(&s, columns, &format!("dvc --limit-up 1M push '{url}' main"));
        let progress: Vec<&String> = lines
            .iter()
            .filter(|line| line.contains("% sending: "))
            .collect();
        assert!(!progress.is_empty(), "{lines:?}");
        assert!(
            progress.iter().all(|line| line.chars().count() < columns),
            "{progress:?}"
        );
        assert!(
            progress
                .iter()
                .all(|line| line.contains("MiB") && !line.contains("files")),
            "{progress:?}"
        );
        // A pack is in transit until the server has accepted it, so its bytes do not count as sent
        // before.
        assert!(
            progress
                .iter()
                .any(|line| line.starts_with("  0% sending: ")),
            "{progress:?}"
        );
        assert!(
            lines.iter().any(|line| line.contains(" in 3 packs, ")),
            "{lines:?}"
        );
    }
}
