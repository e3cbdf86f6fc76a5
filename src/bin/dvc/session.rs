//! One run of the program: global options, settings, place, clock, author, output. Made once, borrowed by every verb.

use crate::args::Globals;
use crate::dirs;
use crate::failure::{CliError, Exit, Failed, Voice, report};
use crate::place::{self, Place};
use crate::print::{self, Out};
use crate::progress::{Progress, Watch};
use crate::settings::{BadConfiguration, Settings, SourceFile, Sources};
use crate::signals::Signals;
use crate::trust::{self, Distrusted};
use dvc::error::Error;
use dvc::hooks;
use dvc::hooks::{Event, Hooks};
use dvc::model::text::harmless_line;
use dvc::model::when::{Edge, When};
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::query::worktree::WalkOptions;
use std::cell::OnceCell;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// One run.
pub(crate) struct Session {
    pub(crate) globals: Globals,
    pub(crate) signals: Signals,
    /// The present, with the user's time zone.
    pub(crate) now: jiff::Zoned,
    /// The command line.
    pub(crate) argv: Vec<OsString>,
    /// The current directory, before `-C`.
    pub(crate) begun: PathBuf,
    /// The current directory, after `-C`.
    pub(crate) current: PathBuf,
    dry_run: bool,
    settings: OnceCell<Settings>,
    /// Whoever is told by stores; one for all.
    told: OnceCell<Arc<Progress>>,
}

impl Session {
    /// Enters the directory of `-C`; everything relative is relative to that.
    pub(crate) fn new(argv: &[OsString], globals: Globals, signals: Signals, dry_run: bool) -> Result<Self, Failed> {
        let begun = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        if !globals.start_in.is_empty() {
            let dir: PathBuf = globals.start_in.iter().collect();
            place::ensure_can_be_entered(&dir)?;
            let failed = |source| CliError::File { doing: "enter", path: dir.clone(), source };
            std::env::set_current_dir(&dir).map_err(failed)?;
        }
        let failed = |source| CliError::File { doing: "find", path: PathBuf::from("."), source };
        let current = std::env::current_dir().map_err(failed)?;
        let is_quiet = globals.quiet > 0;
        Ok(Self {
            globals,
            signals,
            now: jiff::Timestamp::now().to_zoned(zone(is_quiet)),
            argv: argv.to_vec(),
            begun,
            current,
            dry_run,
            settings: OnceCell::new(),
            told: OnceCell::new(),
        })
    }

    /// Tells a failure after which others go on. Returns how this ends with it.
    pub(crate) fn tell_failure(&self, failed: &Failed) -> Exit {
        let voice = Voice { json: self.globals.json, colour: self.globals.color.clone() };
        report(failed, &voice, &self.signals);
        Exit::of(failed)
    }

    /// The same run with the settings of another repository, as they are in its files now.
    pub(crate) fn in_repository(&self, repository: &Path) -> Self {
        Self {
            globals: Globals { repo: Some(repository.to_path_buf()), ..self.globals.clone() },
            signals: self.signals.clone(),
            now: self.now.clone(),
            argv: self.argv.clone(),
            begun: self.begun.clone(),
            current: self.current.clone(),
            dry_run: self.dry_run,
            settings: OnceCell::new(),
            told: OnceCell::new(),
        }
    }

    /// Whether nothing may be changed; `own` is the verb's own `-n`.
    pub(crate) fn dry_run(&self, own: crate::args::DryRun) -> bool {
        self.dry_run || own.dry_run
    }

    /// The repository that is named by `--repo` or `DVC_REPO`.
    pub(crate) fn named_repository(&self) -> Option<PathBuf> {
        let from_env = || std::env::var_os("DVC_REPO").filter(|v| !v.is_empty()).map(PathBuf::from);
        self.globals.repo.clone().or_else(from_env)
    }

    /// The repository, which must be on this machine, and the worktree.
    pub(crate) fn place(&self) -> Result<Place, CliError> {
        let place = self.any_place()?;
        match place.far {
            Some(url) => Err(CliError::Remote(dvc::store::location::without_password(&url))),
            None => Ok(place),
        }
    }

    fn any_place(&self) -> Result<Place, CliError> {
        place::find(&self.current, self.named_repository().as_deref())
    }

    /// The settings in force, read at the first call.
    pub(crate) fn settings(&self) -> Result<&Settings, BadConfiguration> {
        if let Some(settings) = self.settings.get() {
            return Ok(settings);
        }
        let repository = self.place().ok().map(|p| p.repository);
        let settings = self.load_settings(repository.as_deref())?;
        let settings = self.settings.get_or_init(|| settings);
        for problem in settings.left_out() {
            let message = format!("settings of another user's home are left out: {problem}");
            self.told()?.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message });
        }
        Ok(settings)
    }

    /// Why the hooks and remotes of the repository here are not used; `None` if they are.
    pub(crate) fn distrusted(&self) -> Option<Distrusted> {
        let repository = self.place().ok()?.repository;
        trust::distrusted(&repository, self.settings().ok()?.list("safe.directory"))
    }

    fn load_settings(&self, repository: Option<&Path>) -> Result<Settings, BadConfiguration> {
        let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let outside = |path| SourceFile { path, in_repository: false, optional: false };
        let mut files = vec![outside(dirs::system_config())];
        let optional = dirs::is_foreign_home();
        files.extend(dirs::user_config().map(|path| SourceFile { optional, ..outside(path) }));
        files.extend(repository.map(|r| SourceFile { in_repository: true, ..outside(r.join("config.toml")) }));
        Settings::load(&Sources {
            defaults: vec![
                ("core.jobs", jobs.to_string()),
                ("cache.dir", dirs::cache().to_string_lossy().into_owned()),
            ],
            files,
            secrets: PathBuf::from("/run/secrets"),
            env: &|name| std::env::var_os(name),
            overrides: &self.globals.set,
            flags: self.globals.flags(),
        })
    }

    /// Standard output, without a pager.
    pub(crate) fn plain_out(&self) -> Out {
        let stdout = std::io::stdout();
        let setting = self.settings().ok().and_then(|s| s.text("ui.color"));
        Out::plain(print::colour(self.globals.color.as_deref(), setting, &stdout) && !self.globals.json)
    }

    /// Standard output, through a pager where it is a terminal: for `log`, `diff`, `show` and `ls`.
    pub(crate) fn paged_out(&self) -> Out {
        let plain = self.plain_out();
        if self.globals.json || self.globals.no_pager || !std::io::stdout().is_terminal() {
            return plain;
        }
        let command = self.settings().ok().and_then(|s| s.text("ui.pager")).unwrap_or("");
        plain.through_pager(command)
    }

    /// The observer of an operation that hands its output over as it goes: it has something to say, but draws nothing.
    pub(crate) fn notices(&self) -> Result<Progress, BadConfiguration> {
        Ok(Progress::start(self.signals.clone(), self.level()?, self.globals.json, false, false))
    }

    /// The same, shared by all stores.
    pub(crate) fn told(&self) -> Result<Arc<Progress>, BadConfiguration> {
        if let Some(told) = self.told.get() {
            return Ok(Arc::clone(told));
        }
        let told = Arc::new(self.notices()?);
        Ok(Arc::clone(self.told.get_or_init(|| told)))
    }

    /// How much is said: 0 for errors to 3 for everything.
    fn level(&self) -> Result<i32, BadConfiguration> {
        let level = match self.settings()?.text("ui.log") {
            Some("error") => 0,
            Some("warn") => 1,
            Some("debug") => 3,
            _ => 2,
        };
        Ok(level + i32::from(self.globals.verbose) - i32::from(self.globals.quiet))
    }

    /// The observer of a long operation.
    pub(crate) fn progress(&self) -> Result<Progress, BadConfiguration> {
        let (settings, level) = (self.settings()?, self.level()?);
        let bars = match settings.text("ui.progress") {
            Some("always") => true,
            Some("never") => false,
            _ => level >= 2 && !self.globals.json,
        };
        let forced = settings.text("ui.progress") == Some("always");
        Ok(Progress::start(self.signals.clone(), level, self.globals.json, bars, forced))
    }

    /// Who makes versions: `user.author`, else `user.name` and `user.email`, else the login and the machine.
    pub(crate) fn author(&self) -> Result<String, BadConfiguration> {
        let settings = self.settings()?;
        if let Some(author) = settings.text("user.author") {
            return Ok(author.to_owned());
        }
        let login = login();
        let name = settings.text("user.name").filter(|n| !n.is_empty()).unwrap_or(&login);
        let mail = settings.text("user.email").filter(|n| !n.is_empty());
        Ok(match mail {
            Some(mail) => format!("{name} <{mail}>"),
            None => format!("{name} <{login}@{}>", host()),
        })
    }

    /// Where, for whom and when an operation works.
    pub(crate) fn context(&self, place: &Place) -> Result<dvc::context::Context, Failed> {
        let settings = self.settings()?;
        let far = match &place.far {
            Some(url) => Some(self.unnamed(self.location(url)?)?),
            None => None,
        };
        let number = |key| settings.number(key).unwrap_or(0);
        Ok(dvc::context::Context {
            repository: place.repository.clone(),
            worktree: place.worktree.canonicalize().unwrap_or_else(|_| place.worktree.clone()),
            author: self.author()?,
            host: host(),
            jobs: usize::try_from(number("core.jobs")).unwrap_or(1).max(1),
            memory_bytes: number("core.memory"),
            now: self.now.clone(),
            open: dvc::repo::OpenOptions {
                cache_dir: settings.text("cache.dir").map(PathBuf::from),
                // The rest goes to tables of the index, buffers of the threads, and what compressing needs.
                frame_cache_bytes: usize::try_from(number("core.memory") / 6).unwrap_or(0).min(64 << 20),
                tracer: None,
                lazy_source: None,
                sharing: dvc::repo::state::Sharing::default(),
                complain: Some(self.complaint()?),
            },
            far,
            remotes: self.remotes(settings)?,
            cache: dvc::context::CacheOptions {
                dir: settings.text("cache.dir").map(PathBuf::from).unwrap_or_default(),
                limit_bytes: number("cache.size"),
            },
            mount: place.mount.clone(),
        })
    }

    /// Reports once that local state cannot be kept.
    fn complaint(&self) -> Result<Arc<dvc::repo::state::Complaint>, BadConfiguration> {
        let (told, once) = (self.told()?, std::sync::Once::new());
        Ok(Arc::new(move |text: &str| {
            let message = text.to_owned();
            once.call_once(|| told.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message }));
        }))
    }

    /// The repository here, with everything that an operation needs.
    pub(crate) fn here(&self) -> Result<(Place, dvc::context::Context), Failed> {
        let place = self.place()?;
        let context = self.context(&place)?;
        Ok((place, context))
    }

    /// What an operation needs that works without a repository here.
    pub(crate) fn nowhere(&self) -> Result<dvc::context::Context, Failed> {
        let repository = PathBuf::from("/nonexistent");
        let place =
            Place { repository, worktree: self.current.clone(), prefix: PathBuf::new(), far: None, mount: None };
        self.context(&place)
    }

    /// The repository here or, where `--repo` is a URL, the one there, to read it.
    pub(crate) fn anywhere(&self) -> Result<(Place, dvc::context::Context), Failed> {
        let place = self.any_place()?;
        let context = self.context(&place)?;
        Ok((place, context))
    }

    /// The hooks of the settings and of a repository on this machine.
    pub(crate) fn hooks(&self, context: &dvc::context::Context) -> Result<Hooks, BadConfiguration> {
        let settings = self.settings()?;
        let mut dir = context.far.is_none().then(|| context.repository.join(hooks::DIR));
        if let Some(hooks) = &dir
            && let Some(why) = trust::distrusted(&context.repository, settings.list("safe.directory"))
        {
            if Event::ALL.iter().any(|event| hooks::is_executable(&hooks.join(event.name()))) {
                let message = format!("the hooks of the repository are not run: {why}; {}", why.remedy());
                self.told()?.notice(Notice { level: NoticeLevel::Incomplete, path: Vec::new(), message });
            }
            dir = None;
        }
        // `safe.directory` extends to the hooks of the repository's owner, but to no third user's.
        let trusted = dir.as_ref().and_then(|_| context.repository.metadata().ok()).map(|m| m.uid());
        let configured = Event::ALL.into_iter().map(|event| (event, settings.list(&format!("hook.{}", event.name()))));
        Ok(Hooks {
            commands: configured.map(|(event, command)| (event, command.to_vec())).collect(),
            dir,
            trusted,
            limit: Duration::from_secs(settings.number("hook.timeout").unwrap_or(0)),
            output: rustix::stdio::stderr().try_clone_to_owned().ok().map(|fd| Arc::new(fd.into())),
        })
    }

    /// What a walk of the worktree leaves out, by the settings.
    pub(crate) fn walk(&self) -> Result<WalkOptions, BadConfiguration> {
        let settings = self.settings()?;
        Ok(WalkOptions {
            exclude: settings.list("commit.exclude").to_vec(),
            skip_cache_dirs: settings.on("commit.exclude-caches"),
            one_file_system: settings.on("commit.one-file-system"),
            larger_than: None,
            places: Vec::new(),
        })
    }

    /// The observer of a verb that only looks.
    pub(crate) fn watch(&self) -> Watch {
        Watch(self.signals.clone())
    }

    /// Asks before something is taken away: only a person at a terminal is asked, `--yes` answers.
    pub(crate) fn confirmed(&self, question: &str) -> Result<bool, CliError> {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if self.globals.yes || self.globals.json || !terminal {
            return Ok(true);
        }
        let _ = write!(std::io::stderr(), "{} [y/N] ", harmless_line(question));
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        read.map_err(|source| CliError::File { doing: "read", path: PathBuf::from("standard input"), source })?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// A time that an option gave, seconds since 1970.
    pub(crate) fn seconds(&self, text: &str, edge: Edge) -> Result<i64, Failed> {
        let when: When = text.parse().map_err(Error::from)?;
        Ok(when.resolve(&self.now, edge).map_err(Error::from)?.secs)
    }
}

/// The user's time zone. One that `TZ` names and the system does not have is worth a word: all times would be wrong by
/// some hours.
fn zone(quiet: bool) -> jiff::tz::TimeZone {
    let named = std::env::var("TZ").ok().filter(|name| !name.is_empty());
    jiff::tz::TimeZone::try_system().unwrap_or_else(|_| {
        if let Some(name) = named.filter(|_| !quiet) {
            let line =
                format!("warning: the time zone `{name}` of TZ is not known (package tzdata); times are in UTC\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        jiff::tz::TimeZone::UTC
    })
}

/// The name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The user's login name, by the environment or the password file.
fn login() -> String {
    let usable = |name: String| Some(name).filter(|n| !n.is_empty() && !n.contains(['<', '>', '\n']));
    let by_env = ["LOGNAME", "USER"].iter().find_map(|v| std::env::var(v).ok().and_then(usable));
    let uid = rustix::process::geteuid().as_raw().to_string();
    by_env.or_else(|| login_of(&uid).and_then(usable)).unwrap_or(format!("uid-{uid}"))
}

fn login_of(uid: &str) -> Option<String> {
    let table = std::fs::read_to_string("/etc/passwd").ok()?;
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}
