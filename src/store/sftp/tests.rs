//! Tests against a real `sshd` on a local port, with their own keys. Without `sshd`, the tests
//! print a message and pass.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::store::location::Scheme;
use crate::work::Cancelled;

/// A server and the configuration of its client, in a temporary directory.
struct Rig {
    dir: tempfile::TempDir,
    sshd: Child,
    port: u16,
}

const SSHD: &str = "/usr/sbin/sshd";

impl Rig {
    /// Starts a server with this SFTP subsystem. Returns `None` if `sshd` is not installed.
    fn start(subsystem: &str) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            eprintln!("no {SSHD} here: nothing is tested");
            return None;
        }
        // Only a privileged `sshd` needs this directory, and only a privileged process can create
        // it.
        let _ = fs::create_dir("/run/sshd");
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        fs::create_dir(at.join("home")).unwrap();
        for key in ["host", "other_host", "client", "stranger"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"])
                .arg(at.join(key))
                .status();
            assert!(made.unwrap().success());
        }
        fs::copy(at.join("client.pub"), at.join("authorized_keys")).unwrap();
        let port = free_port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {dir}/host\nAuthorizedKeysFile {dir}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nSubsystem sftp {subsystem} -d {dir}/home\n",
            dir = at.display()
        );
        fs::write(at.join("sshd_config"), config).unwrap();
        let sshd = Command::new(SSHD)
            .args(["-D", "-E"])
            .arg(at.join("log"))
            .arg("-f")
            .arg(at.join("sshd_config"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let rig = Self { dir, sshd, port };
        rig.trust("host");
        rig.configure("client", port);
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "{}",
                fs::read_to_string(rig.at("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(rig)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes the client expect this host key.
    fn trust(&self, key: &str) {
        let public = fs::read_to_string(self.at(&format!("{key}.pub"))).unwrap();
        fs::write(self.at("known_hosts"), format!("rig {public}")).unwrap();
    }

    /// Makes the client use this key and port.
    fn configure(&self, key: &str, port: u16) {
        let config = format!(
            "Host rig\n HostName 127.0.0.1\n HostKeyAlias rig\n Port {port}\n IdentityFile {dir}/{key}\n\
             Host *\n IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {dir}/known_hosts\n\
             GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n",
            dir = self.dir.path().display()
        );
        fs::write(self.at("ssh_config"), config).unwrap();
    }

    fn store_at(&self, host: &str, path: &str, access: &Access) -> SftpStore {
        let options = [(
            "config".to_owned(),
            self.at("ssh_config").display().to_string(),
        )]
        .into();
        let location = Location {
            scheme: Scheme::Sftp,
            user: None,
            host: host.to_owned(),
            path: path.to_owned(),
            options,
        };
        SftpStore::open(&location, access).unwrap()
    }

    /// Returns a store whose root consists of two directories that do not exist yet.
    fn store(&self) -> SftpStore {
        self.store_at(
            "rig",
            &self.at("a/b").display().to_string(),
            &Access::default(),
        )
    }

    /// Returns the `ssh` processes that this process started for this server.
    fn clients(&self) -> Vec<u32> {
        let me = format!("PPid:\t{}", std::process::id());
        let mine = |pid: u32| {
            let read =
                |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            read("status").lines().any(|l| l == me)
                && read("cmdline").contains(&*self.at("ssh_config").to_string_lossy())
        };
        let pids = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(|pid| mine(*pid)).collect()
    }

    fn file(&self, len: usize) -> (PathBuf, Vec<u8>) {
        let bytes = content(len);
        let path = self.at("source");
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.sshd.kill().unwrap();
        self.sshd.wait().unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn content(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 11).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn error_kind(e: &StoreError) -> Option<StoreErrorKind> {
    match e {
        StoreError::Remote { error_kind, .. } => Some(*error_kind),
        _ => None,
    }
}

fn read_all(store: &SftpStore, key: &str, from: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut take = |piece: &[u8]| {
        out.extend_from_slice(piece);
        Ok(())
    };
    store.read_from(key, from, &mut take).unwrap();
    out
}

fn every_method(rig: &Rig, store: &SftpStore) {
    assert_eq!(store.get("format").unwrap(), None);
    assert_eq!(store.len("format").unwrap(), None);
    assert_eq!(store.list("").unwrap(), []);
    assert_eq!(store.list_all("packs").unwrap(), Vec::<String>::new());
    assert!(matches!(
        store.read_at("format", 0, 1),
        Err(StoreError::Missing { .. })
    ));
    assert!(matches!(
        store.read_from("format", 0, &mut |_| Ok(())),
        Err(StoreError::Missing { .. })
    ));
    store.delete("format").unwrap();

    assert!(store.create("format", b"one").unwrap());
    assert!(!store.create("format", b"two").unwrap());
    assert!(store.create("refs/branch/main/1", b"").unwrap());
    assert_eq!(store.get("format").unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(
        store.get("refs/branch/main/1").unwrap().as_deref(),
        Some(&b""[..])
    );
    assert_eq!(store.len("format").unwrap(), Some(3));

    let (path, bytes) = rig.file(700_001);
    store.put(&path, "packs/ab/1").unwrap();
    store.put(&path, "packs/ab/1").unwrap();
    store.put(&path, "packs/cd/2").unwrap();
    assert!(store.get("packs/ab/1").unwrap().unwrap() == bytes);
    assert!(store.read_at("packs/ab/1", 0, 700_001).unwrap() == bytes);
    assert_eq!(
        store.read_at("packs/ab/1", 699_999, 2).unwrap(),
        bytes[699_999..]
    );
    assert_eq!(store.read_at("packs/ab/1", 5, 0).unwrap(), b"");
    assert!(matches!(
        store.read_at("packs/ab/1", 699_999, 3),
        Err(StoreError::Missing { .. })
    ));
    assert!(matches!(
        store.read_at("packs/ab/1", u64::MAX, 3),
        Err(StoreError::Missing { .. })
    ));
    assert!(read_all(store, "packs/ab/1", 0) == bytes);
    assert!(read_all(store, "packs/ab/1", 300_000) == bytes[300_000..]);
    assert_eq!(read_all(store, "packs/ab/1", 800_000), b"");
    let stopped = store.read_from("packs/ab/1", 0, &mut |_| Err(Cancelled.into()));
    assert!(matches!(stopped, Err(StoreError::Cancelled(_))));

    let folder = |name: &str| ListedKey {
        name: name.to_owned(),
        is_dir: true,
        len: 0,
    };
    let file = |name: &str, len| ListedKey {
        name: name.to_owned(),
        is_dir: false,
        len,
    };
    assert_eq!(
        store.list("").unwrap(),
        [
            file("format", 3),
            folder("packs"),
            folder("refs"),
            folder("tmp")
        ]
    );
    assert_eq!(store.list("packs/ab").unwrap(), [file("1", 700_001)]);
    assert_eq!(
        store.list_all("packs").unwrap(),
        ["packs/ab/1", "packs/cd/2"]
    );
    assert_eq!(store.list("tmp").unwrap(), []);

    store.delete("packs/ab/1").unwrap();
    store.delete("packs/ab/1").unwrap();
    assert_eq!(store.len("packs/ab/1").unwrap(), None);
    // Without the directory, the next write must create it again. The other directory belongs to
    // another store.
    fs::remove_dir(rig.at("a/b/packs/ab")).ok();
    fs::remove_dir(rig.at("home/c/d/packs/ab")).ok();
    store.put(&path, "packs/ab/1").unwrap();
    assert_eq!(store.len("packs/ab/1").unwrap(), Some(700_001));
    assert!(store.meter.up.bytes() > 2_100_000 && store.meter.down.bytes() > 2_100_000);
    assert!(store.meter.requests() > 20);
}

#[test]
fn a_directory_behind_ssh_is_a_store() {
    let Some(rig) = Rig::start("internal-sftp") else {
        return;
    };
    every_method(&rig, &rig.store());
    every_method(&rig, &rig.store_at("rig", "~/c/d", &Access::default()));
    assert!(rig.at("home/c/d/packs/ab/1").exists());
    let home = rig.store_at("rig", "~/", &Access::default());
    assert_eq!(home.list_all("").unwrap().len(), 4);
}

/// A server with the capabilities of non-OpenSSH servers: no extensions and small requests.
#[test]
fn a_server_that_knows_only_the_plain_protocol() {
    let poor = "internal-sftp -P hardlink,posix-rename,fsync,limits,statvfs";
    let Some(rig) = Rig::start(poor) else { return };
    every_method(&rig, &rig.store());
}

#[test]
fn one_of_many_creates() {
    let Some(rig) = Rig::start("internal-sftp") else {
        return;
    };
    let (store, over) = (rig.store(), AtomicBool::new(false));
    let entry = |who: u8| vec![who; 20_000];
    let seen: usize = std::thread::scope(|s| {
        let reader = s.spawn(|| {
            let mut seen = 0;
            while !over.load(Ordering::Relaxed) {
                for round in 0..20 {
                    if let Some(bytes) = store.get(&format!("refs/r/{round}")).unwrap() {
                        assert!(
                            bytes.len() == 20_000 && bytes == entry(bytes[0]),
                            "a torn entry of {}",
                            bytes.len()
                        );
                        seen += 1;
                    }
                }
            }
            seen
        });
        for round in 0..20 {
            let key = format!("refs/r/{round}");
            let racers: Vec<_> = (0..8u8).map(|who| (who, &store, &key)).collect();
            let won: Vec<u8> = std::thread::scope(|s| {
                let racing: Vec<_> = racers
                    .into_iter()
                    .map(|(who, store, key)| {
                        s.spawn(move || store.create(key, &entry(who)).unwrap().then_some(who))
                    })
                    .collect();
                racing
                    .into_iter()
                    .filter_map(|t| t.join().unwrap())
                    .collect()
            });
            assert_eq!(won.len(), 1, "round {round}");
            assert!(store.get(&key).unwrap().unwrap() == entry(won[0]));
        }
        over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(seen > 0);
    assert_eq!(store.list("tmp").unwrap(), []);
    let clients = rig.clients().len();
    assert!((1..=pool::CONNECTIONS_MAX).contains(&clients), "{clients}");
    drop(store);
    let begin = Instant::now();
    while !rig.clients().is_empty() {
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "a client outlives its store"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_pack_there_and_back() {
    let Some(rig) = Rig::start("internal-sftp") else {
        return;
    };
    let store = rig.store();
    let (path, bytes) = rig.file(32 << 20);
    std::thread::scope(|s| {
        for n in 0..4 {
            let (store, path) = (&store, &path);
            s.spawn(move || store.put(path, &format!("packs/{n}")).unwrap());
        }
    });
    assert!(read_all(&store, "packs/0", 0) == bytes);
    assert!(store.read_at("packs/3", 1, (32 << 20) - 1).unwrap() == bytes[1..]);
    assert_eq!(store.list("tmp").unwrap(), []);
}

#[test]
fn a_put_that_is_cut_off_leaves_nothing_under_its_key() {
    let Some(rig) = Rig::start("internal-sftp") else {
        return;
    };
    let access = Access {
        // At this rate, the 16 MiB before the cut take about two seconds.
        meter: Arc::new(Meter::new(Some(8 << 20), None)),
        ..Access::default()
    };
    let store = rig.store_at("rig", &rig.at("a/b").display().to_string(), &access);
    let (path, bytes) = rig.file(32 << 20);
    let begin = Instant::now();
    let cut = std::thread::scope(|s| {
        let put = s.spawn(|| store.put(&path, "packs/1"));
        while store.meter.up.bytes() < 16 << 20 {
            assert!(begin.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(10));
        }
        for pid in rig.clients() {
            assert!(
                Command::new("kill")
                    .args(["-9", &pid.to_string()])
                    .status()
                    .unwrap()
                    .success()
            );
        }
        put.join().unwrap()
    });
    let e = cut.unwrap_err();
    assert!(e.is_transient() && e.is_unsure(), "{e:?}");
    assert!(begin.elapsed() > Duration::from_secs(1), "the rate is kept");
    assert_eq!(
        store.len("packs/1").unwrap(),
        None,
        "and there is a new connection"
    );
    let left = store.list("tmp").unwrap();
    assert!(left.len() == 1 && left[0].len < 32 << 20, "{left:?}");
    let fast = rig.store();
    fast.put(&path, "packs/1").unwrap();
    assert!(read_all(&fast, "packs/1", 0) == bytes);
}

#[test]
fn what_is_wrong_is_said() {
    let Some(rig) = Rig::start("internal-sftp") else {
        return;
    };
    let place = rig.at("a/b").display().to_string();
    let refused = |host: &str| {
        let begin = Instant::now();
        let e = rig
            .store_at(host, &place, &Access::default())
            .get("format")
            .unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(15), "{e:?}");
        eprintln!("{e}: {}", std::error::Error::source(&e).unwrap());
        error_kind(&e)
    };
    assert_eq!(refused("host.invalid"), Some(StoreErrorKind::UnknownHost));
    assert_eq!(
        refused(&format!("127.0.0.1:{}", rig.port)),
        Some(StoreErrorKind::Untrusted),
        "a host that nobody knows"
    );
    rig.trust("other_host");
    assert_eq!(
        refused("rig"),
        Some(StoreErrorKind::Untrusted),
        "its key has changed"
    );
    rig.trust("host");
    rig.configure("stranger", rig.port);
    assert_eq!(refused("rig"), Some(StoreErrorKind::Denied));
    rig.configure("client", free_port());
    assert_eq!(refused("rig"), Some(StoreErrorKind::Unreachable));
    fs::write(rig.at("ssh_config"), "InvalidResponse yes\n").unwrap();
    assert_eq!(refused("rig"), Some(StoreErrorKind::Refused));
    let mut location = Location::parse("sftp://x/y", Path::new("/"))
        .unwrap()
        .location;
    // `ssh` would read such a host as an option, and run the command.
    location.host = "-oProxyCommand=x".to_owned();
    assert!(SftpStore::open(&location, &Access::default()).is_err());
}

#[test]
fn a_server_may_say_no() {
    // `-R` makes the server read-only.
    let Some(rig) = Rig::start("internal-sftp -R") else {
        return;
    };
    fs::create_dir_all(rig.at("a/b")).unwrap();
    let store = rig.store();
    assert_eq!(
        error_kind(&store.create("refs/x", b"x").unwrap_err()),
        Some(StoreErrorKind::Denied)
    );
    let (path, _) = rig.file(10);
    assert_eq!(
        error_kind(&store.put(&path, "packs/x").unwrap_err()),
        Some(StoreErrorKind::Denied)
    );
    assert_eq!(
        error_kind(&store.put(&path, "x").unwrap_err()),
        Some(StoreErrorKind::Denied)
    );
}
