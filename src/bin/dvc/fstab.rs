//! The `mount.dvc` command line, as `mount -t dvc`, `/etc/fstab` and systemd use it: `SOURCE DIR
//! [-o OPTIONS]`.
//!
//! `SOURCE` is `URL#REV`, or `DIR#REV` for a repository on this machine.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Mount options without a flag of `dvc mount`: they are the default, or only `mount(8)` and
/// systemd use them.
const IGNORED: &[&str] = &[
    "rw", "defaults", "auto", "noauto", "user", "nouser", "nofail", "_netdev", "exec", "nosuid",
    "nodev", "relatime", "noatime", "async",
];

/// Translates the arguments of `mount.dvc` to those of `dvc mount`. Under any other program name
/// they are unchanged.
pub(crate) fn translated(argv: Vec<OsString>) -> Vec<OsString> {
    let called = argv
        .first()
        .map(|program| Path::new(program).file_name() == Some(OsStr::new("mount.dvc")));
    if called != Some(true) {
        return argv;
    }
    let mut out: Vec<OsString> = vec!["dvc".into(), "mount".into()];
    let mut words = argv.into_iter().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("-o") => out.extend(
                words
                    .next()
                    .iter()
                    .flat_map(|options| flags(&options.to_string_lossy())),
            ),
            Some("-v") => out.push(word),
            // `mount(8)` passes its own `-s` (sloppy) and `-n` (do not write mtab), which mean
            // nothing here.
            Some("-s" | "-n") => {}
            // `mount -f` is a fake mount, which does everything except the mount itself.
            Some("-f") => out.push("--dry-run".into()),
            _ => out.push(word),
        }
    }
    out
}

/// Translates comma-separated options to flags.
fn flags(options: &str) -> Vec<OsString> {
    let mut out = Vec::new();
    let all: Vec<&str> = options.split(',').collect();
    // As with every file system, the last of two contradictory options wins.
    let last = |of: [&str; 2]| all.iter().rev().find(|o| of.contains(*o)).copied();
    let in_force = [
        last(["suid", "nosuid"]),
        last(["dev", "nodev"]),
        last(["exec", "noexec"]),
    ];
    let is_pair = |o: &str| ["suid", "dev", "noexec"].contains(&o);
    out.extend(
        in_force
            .into_iter()
            .flatten()
            .filter(|o| is_pair(o))
            .map(|o| OsString::from(format!("--{o}"))),
    );
    // mount(8) and systemd use options that start with `x-` for themselves.
    let others = all
        .iter()
        .filter(|o| !o.is_empty() && !IGNORED.contains(o) && !o.starts_with("x-") && !is_pair(o));
    for option in others.copied() {
        let (name, value) = option
            .split_once('=')
            .map_or((option, None), |(name, value)| (name, Some(value)));
        out.push(format!("--{}", name.replace('_', "-")).into());
        out.extend(value.map(OsString::from));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_fstab_is_a_mount() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let line = "/sbin/mount.dvc s3://b/r#AMCC@v3 /mnt/db -n -o rw,noauto,x-systemd.automount,ro,allow_other,quota=4G";
        assert_eq!(
            translated(words(line)),
            words("dvc mount s3://b/r#AMCC@v3 /mnt/db --ro --allow-other --quota 4G")
        );
        let trusted = "mount.dvc /r#main /mnt -o nosuid,suid,dev,nodev,user,noexec";
        assert_eq!(
            translated(words(trusted)),
            words("dvc mount /r#main /mnt --suid --noexec")
        );
        let fake = "mount.dvc /r#main /mnt -f -n";
        assert_eq!(
            translated(words(fake)),
            words("dvc mount /r#main /mnt --dry-run")
        );
        assert_eq!(translated(words("dvc mount -o x")), words("dvc mount -o x"));
    }
}
