//! One run of the program: global options, settings, place, clock, author and output. The program
//! creates a session once, and every verb borrows the session.

use crate::cancellable::CancellableReader;
use crate::dirs;
use crate::failure::{CliError, ErrorFormat, Exit, Failed, report};
use crate::globals::Globals;
use crate::place::{self, RepoPlace};
use crate::print::{self, Out};
use crate::progress::{CancelWatch, Progress};
use crate::settings::{BadConfiguration, Settings, SourceFile, Sources};
use crate::signals::Signals;
use crate::trust::{self, DistrustedRepo};
use dvc::error::Error;
use dvc::hooks;
use dvc::hooks::{HookEvent, Hooks};
use dvc::model::text::harmless_line;
use dvc::model::when::{Edge, When};
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::query::worktree::WalkOptions;
use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The name of standard input in messages.
const STDIN: &str = "standard input";

/// One run of the program.
pub(crate) struct Session {
    pub(crate) globals: Globals,
    pub(crate) signals: Signals,
    /// The start time, in the user's time zone.
    pub(crate) now: jiff::Zoned,
    /// The command line as given.
    pub(crate) argv: Vec<OsString>,
    /// The current directory before `-C`.
    pub(crate) begun: PathBuf,
    /// The current directory after `-C`.
    pub(crate) current: PathBuf,
    dry_run: bool,
    settings: OnceCell<Settings>,
    /// The observer that all stores use to report notices.
    store_notices: OnceCell<Arc<Progress>>,
}

impl Session {
    /// Starts a run. Changes to the directory of `-C`, to which all relative paths are relative.
    pub(crate) fn new(
        argv: &[OsString],
        globals: Globals,
        signals: Signals,
        dry_run: bool,
    ) -> Result<Self, Failed> {
        // A deleted current directory is an error only without `-C`.
        let begun = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        if !globals.start_in.is_empty() {
            let dir: PathBuf = globals.start_in.iter().collect();
            // chdir(2) into a mount whose daemon does not respond would block.
            place::ensure_can_be_entered(&dir)?;
            let failed = |source| CliError::File {
                doing: "enter",
                path: dir.clone(),
                source,
            };
            std::env::set_current_dir(&dir).map_err(failed)?;
        }
        let failed = |source| CliError::File {
            doing: "find",
            path: PathBuf::from("."),
            source,
        };
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
            store_notices: OnceCell::new(),
        })
    }

    /// Reports the failure of one of several actions and returns its exit code. The caller
    /// continues with the other actions.
    pub(crate) fn report_failure(&self, failed: &Failed) -> Exit {
        let format = ErrorFormat {
            json: self.globals.json,
            colour: self.globals.color.clone(),
        };
        report(failed, &format, &self.signals);
        Exit::of(failed)
    }

    /// Returns a copy of this run for another repository, whose settings are read when they are
    /// needed.
    pub(crate) fn in_repository(&self, repository: &Path) -> Self {
        Self {
            globals: Globals {
                repo: Some(repository.to_path_buf()),
                ..self.globals.clone()
            },
            signals: self.signals.clone(),
            now: self.now.clone(),
            argv: self.argv.clone(),
            begun: self.begun.clone(),
            current: self.current.clone(),
            dry_run: self.dry_run,
            settings: OnceCell::new(),
            store_notices: OnceCell::new(),
        }
    }

    /// Returns whether this is a dry run; `own` is the verb's own `-n`.
    pub(crate) fn dry_run(&self, own: crate::globals::DryRun) -> bool {
        self.dry_run || own.dry_run
    }

    /// Returns the repository that `--repo` or `DVC_REPO` names.
    pub(crate) fn named_repository(&self) -> Option<PathBuf> {
        let from_env = || {
            std::env::var_os("DVC_REPO")
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        self.globals.repo.clone().or_else(from_env)
    }

    /// Returns the repository, which must be on this machine, and the worktree.
    pub(crate) fn place(&self) -> Result<RepoPlace, CliError> {
        let place = self.any_place()?;
        match place.remote_url {
            Some(url) => Err(CliError::Remote(dvc::store::location::without_password(
                &url,
            ))),
            None => Ok(place),
        }
    }

    fn any_place(&self) -> Result<RepoPlace, CliError> {
        place::find(&self.current, self.named_repository().as_deref())
    }

    /// Returns the effective settings. The first call reads them, and reports configuration files
    /// that it ignored.
    pub(crate) fn settings(&self) -> Result<&Settings, BadConfiguration> {
        if let Some(settings) = self.settings.get() {
            return Ok(settings);
        }
        // Settings are also needed without a repository.
        let repository = self.place().ok().map(|p| p.repository);
        let settings = self.load_settings(repository.as_deref())?;
        // The settings are stored first, because the observer below reads them.
        let settings = self.settings.get_or_init(|| settings);
        for problem in settings.left_out() {
            let message = format!("ignored a configuration file in another user's home: {problem}");
            self.store_notices()?.notice(Notice {
                level: NoticeLevel::Info,
                path: Vec::new(),
                message,
            });
        }
        Ok(settings)
    }

    /// Returns why the hooks and remotes of the repository are distrusted; `None` if they may be
    /// used, or if there is no local repository or no valid configuration.
    pub(crate) fn distrusted(&self) -> Option<DistrustedRepo> {
        let repository = self.place().ok()?.repository;
        trust::distrusted(&repository, self.settings().ok()?.list("safe.directory"))
    }

    fn load_settings(&self, repository: Option<&Path>) -> Result<Settings, BadConfiguration> {
        let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let outside = |path| SourceFile {
            path,
            in_repository: false,
            optional: false,
        };
        let mut files = vec![outside(dirs::system_config())];
        // With `sudo`, the home directory may belong to another user, whose file may be unreadable.
        let optional = dirs::is_foreign_home();
        files.extend(dirs::user_config().map(|path| SourceFile {
            optional,
            ..outside(path)
        }));
        files.extend(repository.map(|r| SourceFile {
            in_repository: true,
            ..outside(r.join("config.toml"))
        }));
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

    /// Returns standard output without a pager.
    pub(crate) fn plain_out(&self) -> Out {
        let stdout = std::io::stdout();
        let setting = self.settings().ok().and_then(|s| s.text("ui.color"));
        Out::plain(
            print::colour(self.globals.color.as_deref(), setting, &stdout) && !self.globals.json,
        )
    }

    /// Returns standard output, through the pager of the settings if standard output is a terminal,
    /// and neither JSON nor `--no-pager` is requested. Used by `log`, `diff`, `show` and `ls`.
    pub(crate) fn paged_out(&self) -> Out {
        let plain = self.plain_out();
        if self.globals.json || self.globals.no_pager || !std::io::stdout().is_terminal() {
            return plain;
        }
        let command = self
            .settings()
            .ok()
            .and_then(|s| s.text("ui.pager"))
            .unwrap_or("");
        plain.through_pager(command)
    }

    /// Returns an observer for an operation that prints its results as they come: the observer
    /// prints notices, but draws no bars.
    pub(crate) fn notices(&self) -> Result<Progress, BadConfiguration> {
        Ok(Progress::start(
            self.signals.clone(),
            self.level()?,
            self.globals.json,
            false,
            false,
        ))
    }

    /// Returns the observer that all stores share. Like [`Self::notices`], it draws no bars.
    pub(crate) fn store_notices(&self) -> Result<Arc<Progress>, BadConfiguration> {
        if let Some(notices) = self.store_notices.get() {
            return Ok(Arc::clone(notices));
        }
        let notices = Arc::new(self.notices()?);
        Ok(Arc::clone(self.store_notices.get_or_init(|| notices)))
    }

    /// Returns the level of messages: 0 shows errors and damage, 3 shows everything. `-v` and `-q`
    /// may exceed this range; below 0, damage is not shown either.
    fn level(&self) -> Result<i32, BadConfiguration> {
        let level = match self.settings()?.text("ui.log") {
            Some("error") => 0,
            Some("warn") => 1,
            Some("debug") => 3,
            _ => 2,
        };
        Ok(level + i32::from(self.globals.verbose) - i32::from(self.globals.quiet))
    }

    /// Returns an observer for a long operation. On a terminal it draws progress bars unless the
    /// settings or the options turn them off; otherwise it prints progress lines if `ui.progress`
    /// is `always`.
    pub(crate) fn progress(&self) -> Result<Progress, BadConfiguration> {
        let (settings, level) = (self.settings()?, self.level()?);
        let bars = match settings.text("ui.progress") {
            Some("always") => true,
            Some("never") => false,
            _ => level >= 2 && !self.globals.json,
        };
        let forced = settings.text("ui.progress") == Some("always");
        Ok(Progress::start(
            self.signals.clone(),
            level,
            self.globals.json,
            bars,
            forced,
        ))
    }

    /// Returns the author of new versions: `user.author`, or else `user.name` and `user.email`. A
    /// missing name is replaced by the login name, a missing address by login and host name.
    pub(crate) fn author(&self) -> Result<String, BadConfiguration> {
        let settings = self.settings()?;
        if let Some(author) = settings.text("user.author") {
            return Ok(author.to_owned());
        }
        let login = login();
        let name = settings
            .text("user.name")
            .filter(|n| !n.is_empty())
            .unwrap_or(&login);
        let mail = settings.text("user.email").filter(|n| !n.is_empty());
        Ok(match mail {
            Some(mail) => format!("{name} <{mail}>"),
            None => format!("{name} <{login}@{}>", host()),
        })
    }

    /// Returns the context of an operation on `place`.
    pub(crate) fn context(&self, place: &RepoPlace) -> Result<dvc::context::Context, Failed> {
        let settings = self.settings()?;
        let remote_repository = match &place.remote_url {
            Some(url) => Some(self.unnamed(self.location(url)?)?),
            None => None,
        };
        let number = |key| settings.number(key).unwrap_or(0);
        Ok(dvc::context::Context {
            repository: place.repository.clone(),
            // The worktree of a clone may not exist yet.
            worktree: place
                .worktree
                .canonicalize()
                .unwrap_or_else(|_| place.worktree.clone()),
            author: self.author()?,
            host: host(),
            jobs: usize::try_from(number("core.jobs")).unwrap_or(1).max(1),
            memory_bytes: number("core.memory"),
            now: self.now.clone(),
            open: dvc::repo::OpenOptions {
                cache_dir: settings.text("cache.dir").map(PathBuf::from),
                // The rest of the memory is for index tables, thread buffers and compression.
                frame_cache_bytes: usize::try_from(number("core.memory") / 6)
                    .unwrap_or(0)
                    .min(64 << 20),
                tracer: None,
                lazy_source: None,
                heal: settings.on("core.heal") && !settings.on("network.offline"),
                heal_sources: Vec::new(),
                sharing: dvc::repo::state::Sharing::default(),
                complain: Some(self.complaint()?),
            },
            remote_repository,
            remotes: self.remotes(settings)?,
            cache: dvc::context::CacheOptions {
                dir: settings
                    .text("cache.dir")
                    .map(PathBuf::from)
                    .unwrap_or_default(),
                limit_bytes: number("cache.size"),
            },
            mount: place.mount.clone(),
        })
    }

    /// Returns a callback that reports, once, that local state cannot be saved.
    fn complaint(&self) -> Result<Arc<dvc::repo::state::Complaint>, BadConfiguration> {
        let (notices, once) = (self.store_notices()?, std::sync::Once::new());
        Ok(Arc::new(move |text: &str| {
            let message = text.to_owned();
            once.call_once(|| {
                notices.notice(Notice {
                    level: NoticeLevel::Info,
                    path: Vec::new(),
                    message,
                })
            });
        }))
    }

    /// Returns the place and the context of the local repository.
    pub(crate) fn here(&self) -> Result<(RepoPlace, dvc::context::Context), Failed> {
        let place = self.place()?;
        let context = self.context(&place)?;
        Ok((place, context))
    }

    /// Returns the context of an operation that needs no repository.
    pub(crate) fn nowhere(&self) -> Result<dvc::context::Context, Failed> {
        let repository = PathBuf::from("/nonexistent");
        let place = RepoPlace {
            repository,
            worktree: self.current.clone(),
            prefix: PathBuf::new(),
            remote_url: None,
            mount: None,
        };
        self.context(&place)
    }

    /// Returns the place and the context of the repository, which may be a remote one that can only
    /// be read.
    pub(crate) fn anywhere(&self) -> Result<(RepoPlace, dvc::context::Context), Failed> {
        let place = self.any_place()?;
        let context = self.context(&place)?;
        Ok((place, context))
    }

    /// Returns the configured hooks, and those of a local repository if it is trusted.
    pub(crate) fn hooks(&self, context: &dvc::context::Context) -> Result<Hooks, BadConfiguration> {
        let settings = self.settings()?;
        let mut dir = context
            .remote_repository
            .is_none()
            .then(|| context.repository.join(hooks::DIR));
        if let Some(hooks) = &dir
            && let Some(why) =
                trust::distrusted(&context.repository, settings.list("safe.directory"))
        {
            if HookEvent::ALL
                .iter()
                .any(|event| hooks::is_executable(&hooks.join(event.name())))
            {
                let message = format!(
                    "not running the hooks of the repository: {why}; {}",
                    why.hint()
                );
                self.store_notices()?.notice(Notice {
                    level: NoticeLevel::Incomplete,
                    path: Vec::new(),
                    message,
                });
            }
            dir = None;
        }
        // With `safe.directory`, hooks that belong to the repository's owner are trusted, but not
        // those of a third user.
        let trusted = dir
            .as_ref()
            .and_then(|_| context.repository.metadata().ok())
            .map(|m| m.uid());
        let configured = HookEvent::ALL
            .into_iter()
            .map(|event| (event, settings.list(&format!("hook.{}", event.name()))));
        Ok(Hooks {
            commands: configured
                .map(|(event, command)| (event, command.to_vec()))
                .collect(),
            dir,
            trusted,
            limit: Duration::from_secs(settings.number("hook.timeout").unwrap_or(0)),
            // Hooks write to standard error, because another program may read the standard output
            // of dvc.
            output: rustix::stdio::stderr()
                .try_clone_to_owned()
                .ok()
                .map(|fd| Arc::new(fd.into())),
        })
    }

    /// Returns the settings that say what a walk of the worktree leaves out.
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

    /// Returns an observer for a verb that only reads.
    pub(crate) fn watch(&self) -> CancelWatch {
        CancelWatch(self.signals.clone())
    }

    /// Returns unbuffered standard input. A signal ends a blocked read.
    pub(crate) fn stdin(&self) -> Result<CancellableReader<File>, CliError> {
        // A buffer of the standard library could have bytes that poll(2) does not see.
        let input = std::io::stdin().as_fd().try_clone_to_owned();
        let input = input.map_err(|source| CliError::File {
            doing: "open",
            path: STDIN.into(),
            source,
        })?;
        Ok(CancellableReader::new(input.into(), self.signals.clone()))
    }

    /// Asks before something is removed. The answer is yes with `--yes` or `--json`, or unless
    /// standard input and standard error are both terminals.
    pub(crate) fn confirmed(&self, question: &str) -> Result<bool, CliError> {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        // Without a terminal, the command is part of a script, which has made the decision.
        if self.globals.yes || self.globals.json || !terminal {
            return Ok(true);
        }
        let _ = write!(std::io::stderr(), "{} [y/N] ", harmless_line(question));
        let mut answer = String::new();
        let read = BufReader::new(self.stdin()?).read_line(&mut answer);
        read.map_err(|source| CliError::File {
            doing: "read",
            path: STDIN.into(),
            source,
        })?;
        Ok(matches!(
            answer.trim().to_ascii_lowercase().as_str(),
            "y" | "yes"
        ))
    }

    /// Parses the time given to an option; returns seconds since 1970.
    pub(crate) fn seconds(&self, text: &str, edge: Edge) -> Result<i64, Failed> {
        let when: When = text.parse().map_err(Error::from)?;
        Ok(when.resolve(&self.now, edge).map_err(Error::from)?.secs)
    }
}

/// Returns the user's time zone, or UTC if it is unknown. Unless `quiet` is set, an unknown name in
/// `TZ` is reported, because all times would be off by hours.
fn zone(quiet: bool) -> jiff::tz::TimeZone {
    let named = std::env::var("TZ").ok().filter(|name| !name.is_empty());
    jiff::tz::TimeZone::try_system().unwrap_or_else(|_| {
        if let Some(name) = named.filter(|_| !quiet) {
            let line =
                format!("warning: unknown time zone `{name}` in TZ (install the package tzdata); times are in UTC\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        jiff::tz::TimeZone::UTC
    })
}

/// Returns the host name.
pub(crate) fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Returns the user's login name from the environment or the password file, or `uid-N` if both lack
/// a usable name.
fn login() -> String {
    // These characters would break the form `Name <email>` of an author.
    let usable =
        |name: String| Some(name).filter(|n| !n.is_empty() && !n.contains(['<', '>', '\n']));
    let by_env = ["LOGNAME", "USER"]
        .iter()
        .find_map(|v| std::env::var(v).ok().and_then(usable));
    let uid = rustix::process::geteuid().as_raw().to_string();
    by_env
        .or_else(|| login_of(&uid).and_then(usable))
        .unwrap_or(format!("uid-{uid}"))
}

fn login_of(uid: &str) -> Option<String> {
    let table = std::fs::read_to_string("/etc/passwd").ok()?;
    table.lines().find_map(|line| {
        // The first fields of passwd(5) are the name, the password and the user id.
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}
