//! Locks: `flock`, `fcntl` and open file description locks work between processes and across the
//! hard links of a file. The kernel implements them.

use std::fs;

use crate::mount::harness::{Volume, python};

const SCRIPT: &str = r#"
import fcntl, os, struct, sys
def child(ask):
    r, w = os.pipe()
    if os.fork() == 0:
        try:
            ask(); os.write(w, b"got it")
        except OSError as e:
            os.write(w, os.strerror(e.errno).encode())
        os._exit(0)
    os.close(w); said = os.read(r, 99).decode(); os.close(r); os.wait(); return said
def opened(): return os.open(sys.argv[1], os.O_RDWR)
def lock(f, kind, start, size, ofd):
    flock = struct.pack("hhqqi", kind, 0, start, size, 0)
    fcntl.fcntl(f, 37 if ofd else fcntl.F_SETLK, flock)
f = opened()
fcntl.flock(f, fcntl.LOCK_EX)
print("flock", child(lambda: fcntl.flock(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)))
fcntl.flock(f, fcntl.LOCK_SH)
print("shared", child(lambda: fcntl.flock(opened(), fcntl.LOCK_SH | fcntl.LOCK_NB)))
fcntl.flock(f, fcntl.LOCK_UN)
print("unlocked", child(lambda: fcntl.flock(opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)))
for ofd in (False, True):
    lock(f, fcntl.F_WRLCK, 100, 50, ofd)
    print("range", child(lambda: lock(opened(), fcntl.F_WRLCK, 120, 5, False)))
    print("other", child(lambda: lock(opened(), fcntl.F_WRLCK, 200, 5, False)))
    print("read", child(lambda: lock(opened(), fcntl.F_RDLCK, 149, 1, True)))
    lock(f, fcntl.F_UNLCK, 100, 50, ofd)
    print("free", child(lambda: lock(opened(), fcntl.F_WRLCK, 120, 5, True)))
g = opened()
lock(f, fcntl.F_WRLCK, 0, 0, True)
try:
    lock(g, fcntl.F_WRLCK, 0, 0, True); print("own too")
except OSError as e:
    print("own", os.strerror(e.errno))
"#;

#[test]
fn locks_hold_between_processes() {
    let Some(v) = Volume::of(|w| fs::write(w.join("old"), vec![1; 1000]).unwrap()) else {
        return;
    };
    let m = v.mount(&[]);
    fs::write(m.at("new"), vec![1; 1000]).unwrap();
    let native = python(SCRIPT, &[&v.s.w("old")]);
    assert!(
        native.contains("flock Resource temporarily unavailable"),
        "{native}"
    );
    for name in ["old", "new"] {
        assert_eq!(python(SCRIPT, &[&m.at(name)]), native, "{name}");
    }
    fs::hard_link(m.at("old"), m.at("old too")).unwrap();
    assert_eq!(python(SCRIPT, &[&m.at("old too")]), native);
}

/// Two processes use a SQLite database with locks and a write-ahead log on a mount.
#[test]
fn a_database_is_used_by_two_processes() {
    let Some(v) = Volume::of(|w| {
        python(
            "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('PRAGMA journal_mode = WAL')\n\
             c.execute('CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)')\n\
             c.executemany('INSERT INTO t (b) VALUES (?)', [(str(n) * 20,) for n in range(5000)])\nc.commit()\nc.close()",
            &[&w.join("db")],
        );
    }) else {
        return;
    };
    let mut m = v.mount(&[]);
    let work = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], timeout=60)\n\
                for n in range(300):\n    c.execute('INSERT INTO t (b) VALUES (?)', ('x' * (n % 1000),))\n    \
                c.execute('UPDATE t SET b = b || ? WHERE a = ?', ('y', n * 7 % 5000 + 1))\n    c.commit()\n";
    let check = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\n\
                 print(c.execute('PRAGMA integrity_check').fetchone()[0], c.execute('SELECT count(*) FROM t').fetchone()[0])";
    std::thread::scope(|scope| {
        let path = m.at("db");
        for _ in 0..2 {
            let path = path.clone();
            scope.spawn(move || python(work, &[&path]));
        }
        // A concurrent commit contains the same state as a power failure would leave.
        for round in 0..3 {
            m.commit("while it runs");
            let out = v.checkout("main", &format!("live {round}"));
            assert!(python(check, &[&out.join("db")]).starts_with("ok "));
        }
    });
    assert_eq!(python(check, &[&m.at("db")]), "ok 5600");
    m.kill();
    m.up();
    assert_eq!(python(check, &[&m.at("db")]), "ok 5600");
    m.commit("at the end");
    assert_eq!(
        python(check, &[&v.checkout("main", "out").join("db")]),
        "ok 5600"
    );
}
