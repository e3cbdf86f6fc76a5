//! `dvc import`: makes a version from a tar archive or an image in a file, a pipe or a registry.

use crate::commands::commit::{CommitSummary, HookedCommit, HookedReport, JsonImport};
use crate::failure::{CommandResult, Exit};
use crate::globals::DryRun;
use crate::session::Session;
use clap::{Args, ValueEnum};
use dvc::archive::image::split_url;
use dvc::error::Error;
use dvc::model::refname::RefName;
use dvc::model::text::harmless;
use dvc::ops::commit::CommitOptions;
use dvc::ops::import::{ImportFormat, ImportFrom, ImportOptions, ImportReport, import};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// Options of `import`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    dvc import v3.tar.gz -b AMCC -m 'from the old backup'\n  \
    docker save data:v3 | dvc import - -b AMCC\n  \
    dvc import oci://registry.example/team/example:latest --strip source -b example")]
pub(crate) struct ImportArgs {
    /// Import this archive; `-` is standard input, `oci://HOST/REPOSITORY:TAG` an image in a
    /// registry
    #[arg(value_name = "FILE|-|URL", value_hint = clap::ValueHint::FilePath)]
    pub(crate) from: OsString,
    /// Expect this archive format
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = ImportKind::Auto)]
    pub(crate) format: ImportKind,
    /// Commit to this branch, which is created if it is missing
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Use this message; each further -m adds a paragraph
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Vec<String>,
    /// Import only the contents of DIR in the archive, without DIR itself
    #[arg(long, value_name = "DIR")]
    pub(crate) strip: Option<OsString>,
    /// Import only PATH, which replaces PATH in the last version; the other files are kept
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<OsString>,
    /// Import this image from an archive with several images
    #[arg(long, value_name = "NAME[:TAG]")]
    pub(crate) image: Option<String>,
    /// Create a version even if nothing changed or the archive is empty
    #[arg(long)]
    pub(crate) allow_empty: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Archive formats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportKind {
    /// Detect the format
    Auto,
    /// A tar archive, uncompressed or compressed by gzip or zstd
    Tar,
    /// A container image: an OCI image layout, or the output of `docker save`
    Oci,
}

/// Runs `import`.
pub(crate) fn run(session: &Session, args: &ImportArgs) -> CommandResult {
    let begun = Instant::now();
    let place = session.place()?;
    let context = session.context(&place)?;
    let shown = args.from.to_string_lossy();
    let message = match args.message.join("\n\n").trim_end() {
        "" if args.from == "-" => "import".to_owned(),
        "" => format!(
            "import {}",
            Path::new(&*shown)
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
        ),
        text => text.to_owned(),
    };
    let options = ImportOptions {
        format: match args.format {
            ImportKind::Auto => ImportFormat::Auto,
            ImportKind::Tar => ImportFormat::Tar,
            ImportKind::Oci => ImportFormat::Oci,
        },
        strip: args.strip.as_ref().map(|strip| strip.as_bytes().to_vec()),
        path: args.path.as_ref().map(|path| path.as_bytes().to_vec()),
        image: args.image.clone(),
        commit: CommitOptions {
            message,
            branch: args
                .branch
                .as_deref()
                .map(RefName::new)
                .transpose()
                .map_err(Error::from)?,
            allow_empty: args.allow_empty,
            dry_run: session.dry_run(args.dry),
            ..CommitOptions::default()
        },
    };
    let progress = session.progress()?;
    let (remote, reference) = if shown.starts_with("oci://") {
        let (url, reference) = split_url(&shown);
        (Some(session.unnamed(session.location(&url)?)?), reference)
    } else {
        (None, String::new())
    };
    let act = || {
        if let Some(remote) = &remote {
            import(
                &context,
                &options,
                ImportFrom::Registry(remote, &reference),
                &progress,
            )
        } else if args.from == "-" {
            import(
                &context,
                &options,
                ImportFrom::Stream(Box::new(session.stdin()?)),
                &progress,
            )
        } else {
            import(
                &context,
                &options,
                ImportFrom::File(Path::new(&args.from)),
                &progress,
            )
        }
    };
    let hooked = HookedCommit {
        session,
        context: &context,
        options: &options.commit,
        volume: None,
        observer: &progress,
    };
    let HookedReport {
        report,
        hook_failure,
    } = hooked.run(act, |report| &report.commit)?;
    drop(progress);
    let ImportReport {
        commit,
        members,
        left_out,
        below,
        digest,
    } = &report;
    let import = Some(JsonImport {
        members: *members,
        left_out: *left_out,
        digest: digest.as_deref(),
    });
    let dry_run = options.commit.dry_run;
    CommitSummary {
        report: commit,
        volume: None,
        dry_run,
        took: begun.elapsed(),
        import,
    }
    .print(session)?;
    if let Some(below) = below
        .as_ref()
        .filter(|_| *left_out > 0 && !session.globals.json && session.globals.quiet == 0)
    {
        let mut out = session.plain_out();
        let entries = if *left_out == 1 { "entry" } else { "entries" };
        writeln!(
            out,
            " skipped {left_out} {entries} outside of `{}`",
            harmless(below)
        )?;
        out.finish()?;
    }
    hook_failure.map_or(Ok(Exit::DONE), |failed| Err(Error::from(failed).into()))
}
