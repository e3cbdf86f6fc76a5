//! ACLs: the same commands in a mount and in an ordinary directory give the same inherited, changed
//! and enforced ACLs.

use std::path::Path;

use crate::mount::harness::{Mount, Volume, as_user};
use crate::support::needs::run;

/// Creates a directory with a default ACL, and files with ACLs.
fn fill(w: &Path) {
    sh(
        w,
        "mkdir old below; echo old > old/file; setfacl -d -m u:12345:rwx,g:54321:rx,o::- old
         echo x > below/read; echo x > below/kept; chmod 600 below/*; chmod 755 below
         setfacl -m u:12345:r below/read; setfacl -m g:54321:rw,u:12345:- below/kept
         echo x > below/barred; chmod 644 below/barred; setfacl -m u:12345:- below/barred
         mkdir below/room; chmod 700 below/room; setfacl -m u:12345:rwx,g:54321:x below/room; echo x > below/room/in",
    );
}

/// Runs a script in a directory.
#[track_caller]
fn sh(dir: &Path, script: &str) -> String {
    run("sh", &["-ec", &format!("cd '{}'; {script}", dir.display())])
}

/// Returns the ACLs and modes of all files below a directory.
#[track_caller]
fn lists(dir: &Path) -> String {
    sh(
        dir,
        "find . ! -type l | LC_ALL=C sort | while read -r f; do stat -c '# %a %F' \"$f\"; getfacl -n \"$f\"; done",
    )
}

/// Asserts that two directories have the same ACLs. Returns the ACLs.
#[track_caller]
fn assert_same_acls(plain: &Path, mount: &Path, what: &str) -> String {
    let (expected, found) = (lists(plain), lists(mount));
    let differs = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(
        expected == found,
        "{what}: {differs:?} in\n{expected}\nand\n{found}"
    );
    expected
}

#[test]
fn new_files_inherit_the_acl_of_their_directory() {
    let Some(v) = Volume::of(fill) else { return };
    let w = v.s.at("w");
    for args in [&[][..], &["--allow-other"]] {
        let mut m = v.mount_at("m", "main", args);
        for umask in ["022", "077", "0"] {
            let script = format!(
                "rm -rf d{umask}; umask {umask}; mkdir d{umask}; cd d{umask}
                 touch ../old/f{umask}; mkdir ../old/d{umask}; touch ../old/d{umask}/f
                 mkdir a; setfacl -d -m u:12345:rwx,g:54321:r a; touch a/f; mkdir a/sub; touch a/sub/deep
                 mkdir -m 700 a/private; mkdir -m 1777 a/open; mkfifo a/pipe; mknod a/null c 1 3; ln -s f a/link
                 ln a/f a/again; install -m 755 /dev/null a/installed; echo x > a/sub/written
                 chmod 604 a/f; chmod 2775 a/sub; mkdir a/sub/of-group; touch a/sub/of-group/f
                 cp -a a copy; cp -r a/sub a/by-cp; cp a/installed a/sub/by-cp; mv a/sub/deep a/moved
                 mkdir bits; setfacl -d -m u::rwx,g::rx,o::x bits; touch bits/f; mkdir bits/d; touch bits/d/f
                 mkdir no-more; setfacl -d -m u:12345:r no-more; touch no-more/f; setfacl -k no-more; touch no-more/g
                 mkdir narrow; setfacl -d -m u:12345:rwx,m::r narrow; touch narrow/f; mkdir narrow/d
                 setfacl -b a/moved; setfacl -m m::r a/installed; setfacl -x u:12345 a/by-cp; chmod g-w a/open"
            );
            sh(&w, &script);
            sh(m.root(), &script);
        }
        let said = assert_same_acls(&w, m.root(), "made");
        assert!(
            said.contains("default:user:12345:rwx") && said.contains("#effective:"),
            "{said}"
        );
        m.again();
        assert_same_acls(&w, m.root(), "mounted again");
        m.commit("lists");
        assert_same_acls(
            &w,
            &v.checkout("main", &format!("out{}", args.len())),
            "checked out",
        );
        assert_eq!(m.status(), "");
        m.dvc(&["checkout", "main@v1"]).ok();
        sh(&w, "rm -rf d* old/f* old/d*");
        m.down_with(&["--discard"]).ok();
        v.commit(&format!("as before {}", args.len()));
    }
}

/// Lets several users access the files in a directory. Returns the operations that succeeded.
fn tried(dir: &Path) -> String {
    const TRY: &str = r#"cd "$DIR" && for f in below/read below/kept below/barred below/room/in old/file; do
        cat $f > /dev/null 2>&1 && printf 'read '; (echo more >> $f) 2> /dev/null && printf 'write '; echo "$f"; done
        for d in below/room old; do ls $d > /dev/null 2>&1 && printf 'list '
        (echo x > $d/made-$(id -u)) 2> /dev/null && printf 'make '; rm -f $d/made-* 2> /dev/null && printf 'remove '; echo "$d"; done"#;
    [12345, 54321, 777]
        .map(|uid| format!("{uid}: {}", as_user(uid, dir, TRY).1))
        .join("")
}

#[track_caller]
fn assert_allows_the_same(w: &Path, m: &Mount<'_>, what: &str) -> String {
    let expected = tried(w);
    assert_eq!(tried(m.root()), expected, "{what}");
    expected
}

#[test]
fn with_allow_other_acls_decide() {
    let Some(v) = Volume::of(fill) else { return };
    let w = v.s.at("w");
    for kernel in [
        &["--allow-other"][..],
        &["--allow-other", "--hydrate", "all", "--wait-hydrated"],
    ] {
        let mut m = v.mount_at("m", "main", kernel);
        let mut all = vec![assert_allows_the_same(&w, &m, "at first")];
        assert!(
            all[0].contains("12345: read below/read\nbelow/kept"),
            "{}",
            all[0]
        );
        // A change must update the ACLs that the kernel has cached.
        for script in [
            "setfacl -m u:777:rw below/kept; setfacl -x u:12345 below/read",
            "chmod 700 below/room; chmod 640 below/barred",
            "chmod 770 below/room; setfacl -b below/barred",
            "setfacl -m u:777:rwx old; echo 1 > old/made; chown 54321 below/read",
            "setfacl -m g:54321:r,m::r below/read; cp -a below/kept copy; mv copy below/barred",
        ] {
            sh(&w, script);
            sh(m.root(), script);
            all.push(assert_allows_the_same(&w, &m, script));
        }
        let differs = all.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(differs, all.len() - 1, "{all:?}");
        m.again();
        assert_allows_the_same(&w, &m, "mounted again");
        m.commit("changed");
        // A switch to a version with different ACLs applies them.
        m.dvc(&["checkout", "main@v1"]).ok();
        assert_eq!(tried(m.root()), all[0]);
        m.down_with(&["--discard"]).ok();
        sh(&w, "rm -rf ./*");
        v.checkout("main@v1", "w");
        v.commit("as before");
    }
}

/// A user outside of the file's group can set an ACL, but this clears the set-group-ID bit.
#[test]
fn an_acl_set_by_a_user_outside_of_the_group_clears_setgid() {
    let Some(v) = Volume::of(|w| {
        sh(
            w,
            "for f in own foreign; do echo x > $f; chown 12345:54321 $f; done; chgrp 12345 own; chmod 2755 own foreign",
        );
    }) else {
        return;
    };
    let m = v.mount(&["--allow-other"]);
    for dir in [&v.s.at("w"), m.root()] {
        let (done, said) = as_user(
            12345,
            dir,
            "cd \"$DIR\" && setfacl -m u:777:r own foreign && stat -c %a own foreign",
        );
        assert!(done, "{said}");
        assert_eq!(said, "2755\n755\n", "{}", dir.display());
        sh(
            dir,
            "chmod 2755 foreign; setfacl -m u:778:r foreign; test $(stat -c %a foreign) = 2755",
        );
    }
}
