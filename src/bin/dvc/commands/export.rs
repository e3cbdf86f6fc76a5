//! `dvc export`: writes a version as a tar archive or an image to a file, a pipe or a registry.

use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::print::{Paint, elapsed, harmless_json, size};
use crate::session::Session;
use clap::{Args, ValueEnum};
use dvc::archive::image::split_url;
use dvc::error::Error;
use dvc::model::revision::{Revision, RevisionSpec};
use dvc::ops::export::{ExportFormat, ExportOptions, ExportReport, ExportTarget, export};
use dvc::store::location::Scheme;
use serde::Serialize;
use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Options of `export`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    dvc export AMCC@v3 -o v3.tar\n  \
    dvc export AMCC --path acme | tar -xf - -C /restored\n  \
    dvc export AMCC --format oci | docker load\n  \
    dvc export AMCC --format oci -o oci://registry.example/team/amcc:v3")]
pub(crate) struct ExportArgs {
    /// Export this version, or a path of it; the default is HEAD
    #[arg(value_name = "REV[:PATH]")]
    pub(crate) spec: Option<OsString>,
    /// Use this archive format
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = ExportKind::Tar)]
    pub(crate) format: ExportKind,
    /// Write to FILE, which is created when it is complete; `-` is standard output,
    /// `oci://HOST/REPOSITORY:TAG` a registry
    #[arg(short, long, value_name = "FILE|-|URL", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) output: Option<OsString>,
    /// Export only this path of the version; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Vec<OsString>,
    /// Put all files below DIR in the archive; the default for images is `/source`
    #[arg(long, value_name = "DIR")]
    pub(crate) prefix: Option<OsString>,
    /// Name an image that is written to a file
    #[arg(long, value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,
}

/// Archive formats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportKind {
    /// A PAX tar archive
    Tar,
    /// A container image, for `docker load`, `docker pull` and other engines
    Oci,
}

/// Runs `export`.
pub(crate) fn run(session: &Session, args: &ExportArgs) -> CommandResult {
    let begun = Instant::now();
    let (_, context) = session.anywhere()?;
    let spec = match &args.spec {
        Some(spec) => RevisionSpec::parse(spec.as_bytes()).map_err(Error::from)?,
        None => RevisionSpec {
            url: None,
            revision: Revision::HEAD,
            path: None,
        },
    };
    let options = ExportOptions {
        spec,
        format: match args.format {
            ExportKind::Tar => ExportFormat::Tar,
            ExportKind::Oci => ExportFormat::Oci,
        },
        paths: args
            .path
            .iter()
            .map(|path| path.as_bytes().to_vec())
            .collect(),
        prefix: args
            .prefix
            .as_ref()
            .map(|prefix| prefix.as_bytes().to_vec()),
        name: args.name.clone(),
    };
    let output = args.output.as_deref();
    if output.is_none() && io::stdout().is_terminal() {
        let problem =
            "cannot write an archive to a terminal; name a file, or pipe the output into a program";
        return Err(CliError::option("--output", problem).into());
    }
    let url = output
        .and_then(|o| o.to_str())
        .filter(|o| o.contains("://"));
    let registry = match url.map(split_url) {
        Some((url, tag)) => {
            let location = session.location(&url)?;
            if location.scheme != Scheme::Oci {
                return Err(
                    CliError::option("--output", "only an `oci://` URL is supported").into(),
                );
            }
            Some((session.unnamed(location)?, tag))
        }
        None => None,
    };
    let progress = session.progress()?;
    let run = |target: ExportTarget<'_>| export(&context, &options, target, &progress);
    let file = output
        .map(Path::new)
        .filter(|o| url.is_none() && o.as_os_str() != "-");
    let report = match (&registry, file) {
        (Some((remote, tag)), _) => run(ExportTarget::Registry(remote, tag))?,
        (None, Some(path)) => to_file(path, &run)?,
        (None, None) => {
            let mut out = WatchedPipe {
                out: BufWriter::with_capacity(1 << 20, io::stdout().lock()),
                closed: false,
            };
            let report = run(ExportTarget::Stream(&mut out));
            // The reader needs no more of the archive, which is not an error of the export.
            if out.closed {
                return Err(Failed::Output(io::ErrorKind::BrokenPipe.into()));
            }
            report?
        }
    };
    drop(progress);
    if registry.is_some() || file.is_some() {
        return report_to_stdout(session, &report, file, begun.elapsed());
    }
    // The archive is on standard output, so the report goes to standard error.
    if session.globals.json {
        let line = harmless_json(&json(&report, None, begun.elapsed()))?;
        // The export is complete, so ignore a failure to write the report.
        let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
    } else if session.globals.quiet == 0 {
        let _ = io::stderr().write_all(summary(&report, None, begun.elapsed()).as_bytes());
    }
    Ok(Exit::DONE)
}

/// Standard output, and whether its reader has closed it.
struct WatchedPipe<W> {
    out: W,
    closed: bool,
}

impl<W: Write> WatchedPipe<W> {
    fn seen<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.closed |= result
            .as_ref()
            .is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        result
    }
}

impl<W: Write> Write for WatchedPipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.seen(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.seen(flushed)
    }
}

/// Writes to a temporary file first, so that `path` never contains an incomplete archive. Pipes and
/// devices are written directly.
fn to_file(
    path: &Path,
    run: &dyn Fn(ExportTarget<'_>) -> dvc::error::Result<ExportReport>,
) -> Result<ExportReport, Failed> {
    let failed = |source| CliError::File {
        doing: "write",
        path: path.to_owned(),
        source,
    };
    // A device or a pipe must not be replaced by a rename.
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        let mut file: File = OpenOptions::new().write(true).open(path).map_err(failed)?;
        return Ok(run(ExportTarget::Stream(&mut file))?);
    }
    // A rename is possible only within a file system.
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".dvc-export-")
        // The umask restricts these permissions, as those of any new file.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(dir)
        .map_err(failed)?;
    let report = run(ExportTarget::Stream(file.as_file_mut()))?;
    // The content must be durable before the name.
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(report)
}

fn report_to_stdout(
    session: &Session,
    report: &ExportReport,
    file: Option<&Path>,
    took: Duration,
) -> CommandResult {
    let mut out = session.plain_out();
    if session.globals.json {
        writeln!(out, "{}", harmless_json(&json(report, file, took))?)?;
    } else if session.globals.quiet == 0 {
        let id = out.paint(Paint::Id, report.version.short());
        write!(
            out,
            "{}",
            summary(report, file, took).replacen(&report.version.short(), &id, 1)
        )?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn summary(report: &ExportReport, file: Option<&Path>, took: Duration) -> String {
    let address = report
        .address
        .clone()
        .unwrap_or_else(|| format!("v{}", report.commit.ordinal));
    let to = match (&report.image, file) {
        (Some(image), Some(file)) => format!(" as `{}` to `{}`", image.name, file.display()),
        (Some(image), None) => format!(" as `{}`", image.name),
        (None, Some(file)) => format!(" to `{}`", file.display()),
        (None, None) => String::new(),
    };
    let plural = if report.members == 1 { "" } else { "s" };
    format!(
        "[{address} {}]{to}\n {} member{plural}, {} written, {}\n",
        report.version.short(),
        report.members,
        size(report.written_bytes),
        elapsed(took)
    )
}

#[derive(Serialize)]
struct JsonExport<'a> {
    schema: u8,
    id: String,
    tree: String,
    address: Option<&'a str>,
    ordinal: u64,
    members: u64,
    written_bytes: u64,
    file: Option<Cow<'a, str>>,
    image: Option<&'a str>,
    digest: Option<&'a str>,
    seconds: f64,
}

fn json<'a>(report: &'a ExportReport, file: Option<&'a Path>, took: Duration) -> JsonExport<'a> {
    JsonExport {
        schema: 1,
        id: report.version.to_string(),
        tree: report.commit.tree.to_string(),
        address: report.address.as_deref(),
        ordinal: report.commit.ordinal,
        members: report.members,
        written_bytes: report.written_bytes,
        file: file.map(Path::to_string_lossy),
        image: report.image.as_ref().map(|image| image.name.as_str()),
        digest: report.image.as_ref().map(|image| image.digest.as_str()),
        seconds: took.as_secs_f64(),
    }
}
