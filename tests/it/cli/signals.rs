//! Signals: a signal that is ignored when the program starts stays ignored, and a limit on file
//! sizes gives an error message.

use super::fresh;
use crate::support::sandbox::Sandbox;

/// Commits the output of a command that sends the signal to `dvc` and then succeeds. Returns the
/// exit code.
fn commit_under(s: &Sandbox, trap: &str, signal: &str) -> i32 {
    let script = format!(
        "{trap}; exec dvc commit -b {signal} -m x --exec f -- sh -c 'kill -{signal} $PPID; echo 1'"
    );
    s.sh(&script).code
}

#[test]
fn a_signal_that_is_ignored_at_the_start_stays_ignored() {
    let s = fresh();
    for (signal, number) in [("HUP", 1), ("INT", 2), ("TERM", 15)] {
        assert_eq!(commit_under(&s, "true", signal), 128 + number, "{signal}");
        s.dvc(["log", signal]).code(13);
        // `nohup` and shells (for background jobs) start programs with some signals ignored.
        assert_eq!(
            commit_under(&s, &format!("trap '' {signal}"), signal),
            0,
            "{signal}"
        );
        s.dvc(["log", signal]).ok();
    }
}

#[test]
fn a_limit_of_file_sizes_is_an_error_with_words() {
    let s = fresh();
    for n in 0..3u8 {
        let mut noise = vec![0; 90_000];
        blake3::Hasher::new()
            .update(&[n])
            .finalize_xof()
            .fill(&mut noise);
        s.write(&format!("f{n}"), noise);
    }
    // Blocks of 1 KiB: enough for the catalogue but not for a pack.
    let run = s.sh("ulimit -f 100; exec dvc commit -m x").code(8);
    run.complains("File too large")
        .complains("hint: raise the limit on file sizes (`ulimit -f`)");
    s.dvc(["commit", "-m", "x"]).ok();
    let run = s
        .sh("ulimit -f 60; exec dvc checkout main --into ../copy")
        .code(3);
    run.complains("file too large");
    // The handler of SIGXFSZ is not inherited, so the signal kills the command of `--exec`.
    s.sh("ulimit -f 0; exec dvc commit -n -m x --exec f -- sh -c 'echo 1 > ../big'")
        .code(7);
    s.dvc(["fsck", "--data"]).ok();
}
