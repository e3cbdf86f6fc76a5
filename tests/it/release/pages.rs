//! `groff` and `man` accept the manual pages without a warning.

use super::project;
use crate::support::needs::need;
use crate::support::sandbox::{Run, Sandbox, all_below};

#[test]
fn groff_has_no_warning() {
    let s = Sandbox::new();
    let pages: Vec<_> = all_below(&project().join("completions/man")).into_iter().filter(|p| p.is_file()).collect();
    assert!(pages.len() > 50);
    for page in pages.iter().filter(|page| !page.ends_with("git-dvc.1")) {
        let run = Run::of(s.other(need("groff")).args(["-man", "-ww", "-z", "-Tutf8", "-k"]).arg(page)).ok();
        assert!(run.err.is_empty(), "{}: {}", page.display(), run.err);
    }
}

#[test]
fn man_finds_them() {
    let s = Sandbox::new();
    let manual = project().join("completions/man");
    for (name, text) in
        [("dvc", "EXIT STATUS"), ("dvc-remotes", "AWS_ACCESS_KEY_ID"), ("git-dvc", "git for data volumes")]
    {
        let mut c = s.other(need("man"));
        c.env("MANPATH", &manual).env("MANPAGER", "cat").env("MANWIDTH", "80").env("MAN_KEEP_FORMATTING", "");
        let shown = Run::of(c.arg("-P").arg("cat").arg(name)).ok().out;
        // man marks bold letters by overstriking.
        let plain: String = shown.replace('\u{8}', "");
        assert!(plain.contains(text) || shown.contains(text), "{name}: {shown}");
    }
}
