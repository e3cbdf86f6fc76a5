//! Starting a mount: its overlay gone on with or begun, the view over it, attached and served.
//!
//! Whatever fails on the way leaves no mount behind.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::waiting::{self, wait_while_ending};
use super::{Daemon, Inner, Setup, Standing, facts_of};
use crate::codec::hash::checksum;
use crate::error::Result;
use crate::model::id::{Id, to_hex};
use crate::mount::attach::{self, AttachOptions};
use crate::mount::control::{Desk, Note, mount_namespace};
use crate::mount::data::{Data, Spare};
use crate::mount::error::MountError;
use crate::mount::fuse::{self, Mode};
use crate::mount::hydrate::Hydrator;
use crate::mount::inode::{Inode, ROOT, What};
use crate::mount::lower::Lower;
use crate::mount::names::{Names, Upper};
use crate::mount::space::{FOLDER, Space};
use crate::mount::state::State;
use crate::mount::store::{Flush, GIVEN, RETIRED, Store};
use crate::mount::view::{Complain, View, ViewOptions};
use crate::observe::Observer;
use crate::repo::Repo;
use crate::sys::io_error::IoError;
use crate::sys::mountinfo;
use crate::sys::process::ProcessIdentity;
use crate::sys::random::random_bytes;

impl Daemon {
    /// Attaches a version and begins to serve it.
    pub fn start(setup: Setup, observer: &dyn Observer) -> Result<Self> {
        bury(&setup.at)?;
        let lower = Arc::new(Lower::new(setup.repo));
        let mut standing =
            Standing { version: setup.version.0, below: setup.version.1, branch: setup.branch, shot: None };
        let (mut upper, mut changed, mut news, mut store) = (Upper::default(), HashSet::new(), Vec::new(), None);
        let dir = setup.overlay.as_ref().map_or_else(|| PathBuf::from("/"), |o| o.0.join(FOLDER));
        let space = Arc::new(Space::new(dir.clone(), setup.quota));
        if let Some((overlay, name)) = &setup.overlay {
            wait_while_ending(overlay, observer)?;
            let kept = Store::open(overlay, name, &setup.at)?;
            waiting::begins(overlay, &setup.at);
            if let Some(was) = resume(lower.repo(), &kept, &standing, name)? {
                standing = was;
                if let Some(key) = kept.key()? {
                    ensure_marked(&space, &kept, &key)?;
                }
                let loaded = kept.load(&space)?;
                for lost in &loaded.lost {
                    (setup.complain)(&format!("lost: {lost}"));
                }
                kept.flush(&Flush { unsealed: loaded.unsealed, ..Flush::default() })?;
                (upper, changed, news) = (loaded.upper, loaded.changed, loaded.news);
                // Where files are to be whole on this machine, or the version is not, the copies are of use.
                if setup.hydrate.0.is_off() && !lower.repo().is_lazy() {
                    give_back(&kept, &space, &mut upper, &changed, &*setup.complain)?;
                }
            }
            store = Some(kept);
        }
        if !upper.inodes.contains_key(&ROOT) {
            upper = rooted(&lower, &standing.below)?;
            upper.key = match store.as_ref().map(Store::key).transpose()?.flatten() {
                Some(key) => key,
                None => random_bytes()?,
            };
            if let Some(store) = &store {
                let root = upper.inodes.get(&ROOT).cloned();
                let mut meta = facts_of(&standing, &setup.revision);
                meta.push(("key", to_hex(&upper.key).into_bytes()));
                meta.extend([(RETIRED, Vec::new()), (GIVEN, Vec::new())]);
                store.replace(&Flush { inodes: vec![(ROOT, root, false)], meta, ..Flush::default() })?;
                space.put_mark(&mark_of(&upper.key)).map_err(IoError::at("mark", &dir))?;
            }
        }
        upper.several = setup.several;
        if store.is_some() {
            sweep(&dir, &upper, &space);
        }
        let mut names = Names::new(Arc::clone(&lower), Arc::clone(&space), upper, changed);
        names.note(news);
        let hydrator = Arc::new(Hydrator::new(setup.hydrate.0, setup.hydrate.1));
        // Only files that are wholly here can be handed over, and then nobody sees what is written to them, nor how much.
        let mut passthrough = hydrator.is_on() && !setup.live && setup.quota.is_none();
        if passthrough && let Err(why) = attach::passthrough_possible(lower.repo().path()) {
            (setup.complain)(&format!("the kernel cannot use whole files by itself: {why}"));
            passthrough = false;
        }
        let mode = if passthrough { Mode::Passthrough } else { Mode::Writeback };
        let options = ViewOptions {
            read_only: setup.read_only,
            map_owner: setup.map_owner,
            passthrough,
            recorder: setup.recorder.clone(),
        };
        let told = Arc::clone(&setup.complain);
        let view = View::new(Arc::clone(&lower), space, names, store, options, Box::new(move |text| told(text)));
        let view = Arc::new(view);
        let source = attach::shown(&format!("dvc:{}", setup.revision));
        let attached = attach::attach(&AttachOptions {
            at: setup.at.clone(),
            source: source.clone(),
            read_only: setup.read_only,
            allow_other: setup.allow_other,
            trust: setup.trust,
        })?;
        let at = attached.at.clone();
        let undo = Undo(Some(at.clone()));
        // A reader of a local repository waits for the disk; as many may do so at a time.
        let threads = (setup.jobs * 2).clamp(4, 16);
        let io = |what| IoError::at(what, &at);
        let served = fuse::serve(Arc::clone(&view), (attached.device, &at), threads, mode, setup.allow_other)
            .map_err(io("serve"))?;
        attach::tune(&at);
        let mounted = mountinfo::ours().map_err(io("find"))?;
        let (device, mount_id) = mounted.iter().rev().find(|m| m.at == at).map_or(((0, 0), 0), |m| (m.device, m.id));
        let note = Note {
            process: ProcessIdentity::own(),
            mount_id,
            mount_namespace: mount_namespace(),
            source,
            at: at.clone(),
            repository: lower.repo().path().to_path_buf(),
            overlay: setup.overlay.as_ref().map(|o| o.1.clone()),
            revision: setup.revision,
            read_only: setup.read_only,
            ephemeral: setup.ephemeral,
            mode: if passthrough { "passthrough" } else { "writeback" }.to_owned(),
        };
        let desk = Desk::open(&setup.run, device, &note).map_err(io("open the socket of"))?;
        let forgetter = served.forgetter();
        let stale = served.forgetter();
        view.tell_stale(Box::new(move |ino| stale.attributes(ino)));
        view.attached_as(device);
        undo.forget();
        let inner = Inner {
            view,
            lower,
            hydrator,
            standing: Mutex::new(standing),
            note,
            meter: setup.meter,
            recorder: setup.recorder,
            prefetch: setup.prefetch,
            jobs: setup.jobs,
            forgetter,
            follow: setup.follow,
            complain: Arc::clone(&setup.complain),
            device,
            refused: Mutex::default(),
            turn: <_>::default(),
            ended: <_>::default(),
            discard: AtomicBool::new(setup.ephemeral),
            leaving: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner), served, desk: Arc::new(desk) })
    }
}

/// Detaches what was attached, should nothing come of it.
struct Undo(Option<PathBuf>);

impl Undo {
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(at) = &self.0 {
            let _ = attach::detach(at, true);
        }
    }
}

/// Removes the mount of a process that is gone.
fn bury(at: &Path) -> Result<()> {
    for mounted in mountinfo::ours().unwrap_or_default().iter().rev() {
        if mounted.at == *at && attach::is_dead(at) {
            attach::detach(at, true)?;
        }
    }
    Ok(())
}

/// What an overlay stands on, if it is to be gone on with.
fn resume(repo: &Repo, store: &Store, asked: &Standing, name: &str) -> Result<Option<Standing>> {
    let id = |key: &str| -> Result<Option<Id>> {
        Ok(store.meta(key)?.and_then(|v| Id::parse(&String::from_utf8_lossy(&v))))
    };
    let (Some(version), Some(below)) = (id("version")?, id("below")?) else {
        // It was never mounted, or the first mount ended before it began.
        return if store.key()?.is_none() {
            Ok(None)
        } else {
            Err(store.damaged("it does not say of which version it is"))
        };
    };
    let branch = store.meta("branch")?.filter(|b| !b.is_empty()).map(|b| String::from_utf8_lossy(&b).into_owned());
    let shot = id("shot")?;
    let branch = branch.or_else(|| asked.branch.clone());
    // A commit that ended before it could tell: the version was made of this overlay.
    let own = || -> Result<bool> {
        let commit = repo.commit_cached(&asked.version)?;
        Ok(Some(commit.tree) == shot && commit.parents.contains(&version))
    };
    if version == asked.version || own()? {
        return Ok(Some(Standing { version: asked.version, below, branch, shot }));
    }
    if store.is_changed()? {
        let (name, repository) = (name.to_owned(), repo.path().to_path_buf());
        return Err(MountError::OtherVersion { name, version: version.short(), repository }.into());
    }
    Ok(None)
}

/// What an overlay holds for a mount of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing: it is begun.
    Nothing,
    /// It is gone on with, and nothing differs from the version.
    Unchanged,
    /// It is gone on with, and something does.
    Changed,
}

/// On what an overlay stands that nobody serves now.
#[derive(Clone, Debug)]
pub struct Left {
    /// The version.
    pub version: Id,
    /// The branch.
    pub branch: Option<String>,
    /// Whether something differs from the version.
    pub changed: bool,
    /// Where it was mounted last.
    pub at: Option<PathBuf>,
}

/// So long the process of a mount that is gone may take to end.
const ENDING: Duration = Duration::from_secs(10);

/// Whether a process serves an overlay and goes on to. One whose mount is gone may be about to end and is waited for.
pub fn stays_served(overlay: &Path) -> Result<bool> {
    let until = Instant::now() + ENDING;
    while Store::is_locked(overlay)? {
        if Instant::now() >= until {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(false)
}

/// Looks on what an overlay stands; `None` if nothing was ever mounted with it.
pub fn left(overlay: &Path, name: &str) -> Result<Option<Left>> {
    let Some(store) = Store::look(overlay, name)? else { return Ok(None) };
    let text = |key: &str| -> Result<Option<String>> {
        Ok(store.meta(key)?.filter(|v| !v.is_empty()).map(|v| String::from_utf8_lossy(&v).into_owned()))
    };
    let Some(version) = text("version")?.as_deref().and_then(Id::parse) else { return Ok(None) };
    let at = text("at")?.map(PathBuf::from);
    Ok(Some(Left { version, branch: text("branch")?, changed: store.is_changed()?, at }))
}

/// What a mount of a version, with its tree, would find in an overlay, or why it would be refused.
pub fn look(repo: &Repo, (version, tree): (Id, Id), overlay: &Path, name: &str) -> Result<Kept> {
    let Some(store) = Store::look(overlay, name)? else { return Ok(Kept::Nothing) };
    let asked = Standing { version, below: tree, branch: None, shot: None };
    Ok(match resume(repo, &store, &asked, name)? {
        None => Kept::Nothing,
        Some(_) if store.is_changed()? => Kept::Changed,
        Some(_) => Kept::Unchanged,
    })
}

/// What upper files say of the tables that they belong to.
fn mark_of(key: &[u8; 16]) -> String {
    to_hex(&checksum(&[b"overlay", key])[..8])
}

/// Fails if the upper files are another overlay's.
fn ensure_marked(space: &Space, store: &Store, key: &[u8; 16]) -> Result<()> {
    let failed = |source| IoError::new("read", space.dir(), source);
    match space.is_marked(&mark_of(key)).map_err(failed)? {
        true => Ok(space.put_mark(&mark_of(key)).map_err(failed)?),
        false => Err(store.damaged("the files beside it are those of another overlay")),
    }
}

/// Gives back the space of what a commit has taken into the version. Nobody uses the overlay yet.
fn give_back(
    store: &Store,
    space: &Arc<Space>,
    upper: &mut Upper,
    changed: &HashSet<u64>,
    complain: &Complain,
) -> Result<()> {
    let (mut rows, mut gone, mut spare) = (Vec::new(), Vec::new(), Vec::new());
    for (ino, inode) in &mut upper.inodes {
        let What::File(data) = &inode.what else { continue };
        match data.spare() {
            Spare::Nothing => {}
            Spare::Blocks => {
                data.disown_spare();
                rows.push((*ino, Some(Arc::clone(inode)), changed.contains(ino)));
                spare.push(Arc::clone(data));
            }
            Spare::All(base) => {
                let untouched = Data::new(*ino, Arc::clone(space), State::of(base));
                let whole = Inode { what: What::File(Arc::new(untouched)), ..Inode::clone(inode) };
                *inode = Arc::new(whole);
                rows.push((*ino, Some(Arc::clone(inode)), changed.contains(ino)));
                gone.push(*ino);
            }
        }
    }
    let unsealed = gone.iter().copied().chain(spare.iter().map(|data| data.ino())).collect();
    store.flush(&Flush { inodes: rows, unsealed, ..Flush::default() })?;
    for ino in gone {
        let _ = std::fs::remove_file(space.path(ino));
    }
    for data in spare {
        data.set_sealed(false);
        if let Err(e) = data.give_back() {
            complain(&format!("cannot give space back: {e}"));
        }
    }
    Ok(())
}

/// Removes upper files that belong to nothing, and counts the others.
fn sweep(dir: &Path, upper: &Upper, space: &Space) {
    use std::os::unix::fs::MetadataExt;
    for fold in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(fold.path()).into_iter().flatten().flatten() {
            let ino = file.file_name().to_str().and_then(|name| u64::from_str_radix(name, 16).ok());
            match ino.filter(|ino| upper.inodes.contains_key(ino)) {
                Some(_) => space.count(0, file.metadata().map_or(0, |m| m.blocks() * 512)),
                None => drop(std::fs::remove_file(file.path())),
            }
        }
    }
}

/// The names of an untouched version.
pub(super) fn rooted(lower: &Lower, tree: &Id) -> Result<Upper> {
    let info = lower.repo().root_info(tree)?;
    let mtime = info.meta.mtime;
    let what = What::Dir { tree: Some(*tree), stored: Some((*tree, info.totals)) };
    let root = Inode {
        meta: info.meta,
        atime: mtime,
        ctime: mtime,
        nlink: 2 + lower.dir(tree)?.subdirs,
        parent: ROOT,
        name: Vec::new(),
        foreign: true,
        what,
    };
    let mut upper = Upper::default();
    upper.inodes.insert(ROOT, Arc::new(root));
    Ok(upper)
}
