//! The remote of a mounted lazy clone fails: reads return the correct bytes or an I/O error, the
//! mount keeps running, and its files are readable again once the remote works.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Mount, possible, until};
use crate::support::sandbox::Sandbox;
use crate::support::servers::proxy::{Chance, Fails, Link, Proxy};
use crate::support::servers::s3::{S3, Switches};
use crate::support::zoo::noise;

/// Number of files; more than the mount fetches in advance.
const FILES: u64 = 24;
const LEN: usize = 400_000;
const PIECE: usize = 40_000;

/// A remote behind a proxy, and the directory `lazy` with a lazy clone of the remote.
struct Scene {
    s: Sandbox,
    s3: S3,
    proxy: Option<Proxy>,
    port: u16,
}

impl Scene {
    fn new() -> Self {
        Self::of(LEN)
    }

    /// Like [`Self::new`], with files of `len` bytes.
    fn of(len: usize) -> Self {
        let s3 = S3::start(Switches::default());
        let proxy = Proxy::start(([127, 0, 0, 1], s3.port()).into(), Link::default()).unwrap();
        let port = proxy.port();
        let mut s = Sandbox::new();
        for (name, value) in s3.env() {
            s.set(name, &value);
        }
        s.dvc(["init"]).ok();
        (0..FILES).for_each(|n| s.write(&format!("f{n}"), noise(n, len)));
        s.dvc(["commit", "-m", "one"]).ok();
        s.dvc(["remote", "add", "origin", &s3.url("p")]).ok();
        s.dvc(["push"]).ok();
        let url = s3
            .url("p")
            .replace(&s3.port().to_string(), &port.to_string());
        s.dvc(["clone", "--lazy", &url, "../lazy"]).ok();
        Self {
            s,
            s3,
            proxy: Some(proxy),
            port,
        }
    }

    fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }

    fn mount(&self, more: &[&str]) -> Mount<'_> {
        let globals = [more, &["-C", "../lazy"]].concat();
        Mount::new(&self.s, &globals, &["main"], "mnt")
    }
}

/// Reads a file in pieces. Returns the number of correct pieces; the others must fail with an I/O
/// error.
#[track_caller]
fn right(mount: &Mount<'_>, n: u64) -> usize {
    let Ok(file) = File::open(mount.join(&format!("f{n}"))) else {
        return 0;
    };
    let pieces = noise(n, LEN);
    let read = |(at, piece): (usize, &[u8])| {
        let mut got = vec![0; piece.len()];
        match file.read_exact_at(&mut got, (at * PIECE) as u64) {
            Ok(()) => assert!(got == piece, "f{n}, piece {at}: wrong bytes"),
            Err(e) => assert_eq!(e.raw_os_error(), Some(Errno::IO.raw_os_error()), "{e}"),
        }
        got == piece
    };
    pieces
        .chunks(PIECE)
        .enumerate()
        .filter(|piece| read(*piece))
        .count()
}

#[track_caller]
fn all_right(mount: &Mount<'_>, n: u64) -> bool {
    right(mount, n) == LEN / PIECE
}

/// Returns whether opening or reading a file fails with an I/O error.
fn all_fail(mount: &Mount<'_>, n: u64) -> bool {
    fs::read(mount.join(&format!("f{n}")))
        .is_err_and(|e| e.raw_os_error() == Some(Errno::IO.raw_os_error()))
}

#[test]
fn a_fifth_of_all_requests_fails() {
    if !possible() {
        return;
    }
    for (what, percent) in [
        (Fails::Request, 20),
        (Fails::Reply, 20),
        (Fails::Connection, 20),
        (Fails::Reply, 70),
    ] {
        let scene = Scene::new();
        scene.proxy().change(|link| {
            link.chance = Some(Chance {
                percent,
                what,
                seed: 0x5eed,
            })
        });
        let mount = scene.mount(&[]);
        std::thread::scope(|scope| {
            for n in 0..FILES {
                let mount = &mount;
                scope.spawn(move || until("all of a file is read", || all_right(mount, n)));
            }
        });
        mount.umount();
    }
}

/// The remote stops and starts again while the mount exists.
#[test]
#[allow(clippy::print_stderr)]
fn the_store_is_gone_and_comes_back() {
    if !possible() {
        return;
    }
    let mut scene = Scene::new();
    let (s3_port, port) = (scene.s3.port(), scene.port);
    let proxy = scene.proxy.take();
    let mount = scene.mount(&[]);
    assert!(all_right(&mount, 0));
    let gone = |proxy: Option<Proxy>| {
        proxy.as_ref().unwrap().cut_all();
        drop(proxy);
    };
    let back = || {
        Proxy::start_at(
            ([127, 0, 0, 1], port).into(),
            ([127, 0, 0, 1], s3_port).into(),
            Link::default(),
        )
        .ok()
    };
    gone(proxy);
    let begun = Instant::now();
    assert!(all_fail(&mount, 20));
    eprintln!(
        "a read fails after {:?} if no server listens",
        begun.elapsed()
    );
    // Written data, and data that was read before, does not need the remote.
    assert!(all_right(&mount, 0));
    fs::write(mount.join("new"), "new").unwrap();
    fs::write(mount.join("f2"), "replaced").unwrap();
    let proxy = back();
    let begun = Instant::now();
    until("it is read again", || all_right(&mount, 20));
    eprintln!("it is read again after {:?}", begun.elapsed());
    (3..FILES).for_each(|n| assert!(all_right(&mount, n), "f{n}"));
    assert_eq!(fs::read(mount.join("f2")).unwrap(), b"replaced");
    assert!(mount.counted("failed_operations") > 0);
    mount.dvc(&["commit", "-m", "two"]).ok();
    mount.umount();
    drop(proxy);
}

/// The remote is unavailable until after the mount has started.
#[test]
#[allow(clippy::print_stderr)]
fn the_store_comes_late() {
    if !possible() {
        return;
    }
    let mut scene = Scene::new();
    drop(scene.proxy.take());
    let mount = scene.mount(&[]);
    let begun = Instant::now();
    assert!(all_fail(&mount, 1));
    eprintln!("the first read fails after {:?}", begun.elapsed());
    assert!(all_fail(&mount, 2) && all_fail(&mount, 3));
    let there = ([127, 0, 0, 1], scene.s3.port()).into();
    let proxy =
        Proxy::start_at(([127, 0, 0, 1], scene.port).into(), there, Link::default()).unwrap();
    let begun = Instant::now();
    until("it is read", || all_right(&mount, 1));
    eprintln!("it is read after {:?}", begun.elapsed());
    mount.umount();
    drop(proxy);
}

/// The remote accepts connections but does not answer. A read fails after a time limit, and reads
/// of local data are not blocked.
#[test]
#[allow(clippy::print_stderr)]
fn the_store_stalls() {
    if !possible() {
        return;
    }
    let scene = Scene::new();
    let mount = scene.mount(&[]);
    assert!(all_right(&mount, 0));
    scene
        .proxy()
        .change(|link| link.delay = Duration::from_secs(3600));
    // Close the open connections, because the delay applies only to new ones.
    scene.proxy().cut_all();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| fs::read(mount.join("f20")));
        // Local files are served while the read waits.
        assert!(all_right(&mount, 0));
        fs::write(mount.join("new"), "new").unwrap();
        fs::rename(mount.join("new"), mount.join("newer")).unwrap();
        let read = waiting.join().unwrap();
        let said = read.as_ref().map_or_else(ToString::to_string, |bytes| {
            format!("{} bytes", bytes.len())
        });
        assert!(
            read.is_err_and(|e| e.raw_os_error() == Some(Errno::IO.raw_os_error())),
            "{said}"
        );
    });
    eprintln!(
        "a read fails after {:?} if no server answers",
        begun.elapsed()
    );
    scene.proxy().change(|link| link.delay = Duration::ZERO);
    scene.proxy().cut_all();
    until("it is read again", || all_right(&mount, 20));
    mount.umount();
}

/// With `--offline`, no read waits for the network.
#[test]
fn without_a_network() {
    if !possible() {
        return;
    }
    let scene = Scene::new();
    let mount = scene.mount(&[]);
    assert!(all_right(&mount, 0));
    mount.umount();
    let before = scene.proxy().passed().connections;
    let mount = scene.mount(&["--offline"]);
    assert!(all_fail(&mount, 1) && all_fail(&mount, 1));
    assert_eq!(fs::read_dir(&mount.at).unwrap().count() as u64, FILES);
    fs::write(mount.join("f1"), "replaced").unwrap();
    assert_eq!(fs::read(mount.join("f1")).unwrap(), b"replaced");
    mount.umount();
    assert_eq!(scene.proxy().passed().connections, before);
}

/// The remote returns bytes that differ from the stored ones.
#[test]
fn the_store_is_damaged() {
    if !possible() {
        return;
    }
    let scene = Scene::new();
    let packs: Vec<String> = scene
        .s3
        .keys()
        .into_iter()
        .filter(|k| k.contains("packs/"))
        .collect();
    let before: Vec<_> = packs.iter().map(|k| scene.s3.object(k).unwrap()).collect();
    for (key, bytes) in packs.iter().zip(&before) {
        if bytes.len() > LEN {
            scene.s3.damage(key, |bytes| {
                bytes.iter_mut().step_by(5000).for_each(|b| *b ^= 1)
            });
        }
    }
    let mount = scene.mount(&[]);
    let found: usize = (0..FILES).map(|n| right(&mount, n)).sum();
    assert!(
        found < usize::try_from(FILES).unwrap() * (LEN / PIECE) / 2,
        "{found} pieces are right"
    );
    assert!(mount.counted("failed_operations") > 0);
    for (key, bytes) in packs.iter().zip(before) {
        scene.s3.damage(key, |damaged| *damaged = bytes);
    }
    until("it is read when it is whole again", || {
        (0..FILES).all(|n| all_right(&mount, n))
    });
    mount.umount();
}

/// A mount with a recorded profile fetches the files of the profile right away and needs the remote
/// no longer.
#[test]
fn recorded_files_are_fetched_before_they_are_read() {
    if !possible() {
        return;
    }
    let mut scene = Scene::new();
    let profile = scene.s.at("profile");
    let profile = profile.to_str().unwrap();
    let mount = Mount::new(
        &scene.s,
        &["-C", "../lazy"],
        &["--record", profile, "main"],
        "mnt",
    );
    let mut piece = vec![0; PIECE];
    File::open(mount.join("f3"))
        .unwrap()
        .read_exact_at(&mut piece, 300_000)
        .unwrap();
    assert!(all_right(&mount, 1));
    mount.umount();
    let lines = fs::read_to_string(profile).unwrap();
    assert!(lines.lines().next().unwrap().contains("\"f3\""), "{lines}");
    let f1: u64 = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["path"] == "f1")
        .map(|line| line["len"].as_u64().unwrap())
        .sum();
    assert_eq!(f1, LEN.next_multiple_of(65536) as u64, "{lines}");

    scene.s.dvc(["gc", "--cache"]).ok();
    let mount = Mount::new(
        &scene.s,
        &["-C", "../lazy"],
        &["--prefetch", profile, "main"],
        "mnt",
    );
    until("the recorded files are fetched", || {
        let log = scene.s.sh("cat ../lazy/.dvcs/overlays/*/log").ok().out;
        log.lines()
            .any(|line| line.contains("prefetched") && !line.contains("prefetched 0"))
    });
    let before = mount.counted("fetched_bytes");
    assert!(before > LEN as u64, "{before} bytes of noise");
    drop(scene.proxy.take());
    assert!(all_right(&mount, 1));
    File::open(mount.join("f3"))
        .unwrap()
        .read_exact_at(&mut piece, 300_000)
        .unwrap();
    assert!(piece == noise(3, LEN)[300_000..300_000 + PIECE]);
    assert_eq!(mount.counted("fetched_bytes"), before);
    mount.umount();

    // An invalid profile is an error, and nothing is mounted.
    scene.s.write("../wrong", "hello\n");
    for (file, code, word) in [
        ("wrong", 2, "line 1"),
        ("none", 13, "cannot read or write the access profile"),
    ] {
        let file = scene.s.at(file);
        let run = super::try_mount(
            &scene.s,
            &["-C", "../lazy"],
            &["--prefetch", file.to_str().unwrap(), "main"],
            "mnt",
        );
        run.code(code).complains(word);
    }
}

/// Several threads read more data than fits into the cache, twice.
#[test]
fn a_small_cache_stays_small_and_everything_is_right() {
    /// The smallest limit that the setting allows; the files are more than twice as large.
    const LIMIT: u64 = 64 << 20;
    const LONG: usize = 6 << 20;
    if !possible() {
        return;
    }
    let mut scene = Scene::of(LONG);
    scene.s.set("DVC_CACHE_SIZE", &LIMIT.to_string());
    let mount = scene.mount(&[]);
    for _ in 0..2 {
        std::thread::scope(|scope| {
            for first in 0..3 {
                let mount = &mount;
                scope.spawn(move || {
                    (first..FILES).step_by(3).for_each(|n| {
                        assert!(
                            fs::read(mount.join(&format!("f{n}"))).unwrap() == noise(n, LONG),
                            "f{n}"
                        );
                    })
                });
            }
        });
        let used = scene.s.dvc(["du", "--cache", "--json"]).ok().json()["block_bytes"]
            .as_u64()
            .unwrap();
        assert!(used <= LIMIT + LIMIT / 4, "{used} bytes");
        // Drop the kernel's page cache as well, so that the second round reads from the mount.
        (0..FILES).for_each(|n| {
            let file = File::open(mount.join(&format!("f{n}"))).unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        });
    }
    assert!(mount.counted("fetched_bytes") > FILES * LONG as u64 + LIMIT);
    mount.umount();
}
