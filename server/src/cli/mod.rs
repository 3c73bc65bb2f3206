//! The command line: one file a command, one place for output, one for exit codes.
//!
//! Exit codes: 0 done, 1 partly (some items failed), 2 the user's fault, 3 ours.

mod caption;
mod chat;
mod collections;
mod compact;
mod doctor;
mod embed;
mod filter;
mod generate;
mod generations;
mod in_order;
mod ingest;
mod input;
mod jobs;
mod lines;
mod list;
mod npy;
mod output;
mod parts;
mod progress;
mod records;
mod repair;
mod score;
mod search;
mod serve;
mod snapshot;
mod stats;
mod update;
mod verify;
mod watch;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use fromagerie::{BUNDLE_VARIABLE, BatchOptions, Database, Device, LoadedModel, Options, load_bundle};

use output::{Output, UsageError};

/// An image-retrieval database that understands dialogue.
#[derive(Parser)]
#[command(name = "fromagerie", version, propagate_version = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON: one object a line, the last one the summary.
    #[arg(long, global = true)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  fromagerie ingest --db cellar --bundle BUNDLE --collection photos ~/Pictures
  fromagerie search --db cellar --bundle BUNDLE --collection photos --text 'a cat asleep'
  fromagerie chat   --db cellar --bundle BUNDLE --collection photos
  fromagerie serve  --db cellar --bundle BUNDLE --listen 127.0.0.1:50051

A bundle is a model's directory; without --bundle, FROMAGERIE_BUNDLE and then DB/bundle are looked at.
Exit codes: 0 done, 1 partly (some items failed), 2 the user's fault, 3 ours.
FROMAGERIE_LOG (such as info or fromagerie=debug) turns on logging to standard error.";

/// What each does is said where it is: the first paragraph in the list of commands, all of it under `--help`.
#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Ingest(ingest::Ingest),
    Embed(embed::Embed),
    Jobs(jobs::Jobs),
    Reindex(generations::Reindex),
    Generations(generations::Generations),
    Rollback(generations::Rollback),
    Search(search::Search),
    Chat(chat::Chat),
    Generate(generate::Generate),
    Score(score::Score),
    Caption(caption::Caption),
    Collections(collections::Collections),
    List(list::List),
    Update(update::Update),
    Verify(verify::Verify),
    Repair(repair::Repair),
    Snapshot(snapshot::Snapshot),
    Restore(snapshot::Restore),
    Compact(compact::Compact),
    Stats(stats::Stats),
    Doctor(doctor::Doctor),
}

/// How a command ended when nothing stopped it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Partly,
    /// Found what it was looking for, and it is bad: damage, a missing runtime.
    Bad,
}

/// Where the database is, for commands that need no model.
#[derive(Args, Clone)]
struct FilesArgs {
    /// The database's directory.
    #[arg(long, value_name = "DIR", env = "FROMAGERIE_DB")]
    db: PathBuf,
}

impl FilesArgs {
    /// Opens a database that is there.
    fn open(&self, read_only: bool) -> fromagerie::Result<Database> {
        Database::open_with(&self.db, Options { create: false, read_only, ..Options::default() })
    }
}

/// Where the database and its model are.
#[derive(Args, Clone)]
struct DatabaseArgs {
    /// The database's directory.
    #[arg(long, value_name = "DIR", env = "FROMAGERIE_DB")]
    db: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
}

/// Where the model is and where it runs.
#[derive(Args, Clone)]
struct ModelArgs {
    /// The model's bundle.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// The ONNX Runtime library, when it is not in one of the usual places (see `doctor`).
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// The precision of the bundle's language model, such as int8; the bundle says which it has.
    #[arg(long, value_name = "NAME", env = "FROMAGERIE_VARIANT")]
    variant: Option<String>,
    /// Most bytes that the bundle's graphs may have; the machine's memory when not given.
    #[arg(long, value_name = "BYTES")]
    model_bytes_max: Option<u64>,
    /// Where the model runs: cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Threads of one model call; the machine's cores when not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    threads: Option<u16>,
    /// Longest time that one token of a conversation waits for those of others, so that one pass serves all; 0: never.
    #[arg(long, value_name = "MS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=1000))]
    batch_wait_ms: u64,
    /// Most conversations in one pass.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch_max: u16,
}

impl ModelArgs {
    /// Loads the bundle for a command that has no database to look in.
    fn load(&self, command: &str) -> anyhow::Result<LoadedModel> {
        let named = self.bundle.clone().or_else(|| std::env::var_os(BUNDLE_VARIABLE).map(Into::into));
        let bundle = named.ok_or_else(|| {
            UsageError(format!("{command} needs a model: name a bundle with --bundle DIR or {BUNDLE_VARIABLE}"))
        })?;
        Ok(load_bundle(&bundle, &self.options(false))?)
    }

    fn options(&self, create: bool) -> Options {
        Options {
            bundle: self.bundle.clone(),
            create,
            onnxruntime: self.onnxruntime.clone(),
            variant: self.variant.clone(),
            model_bytes_max: self.model_bytes_max,
            device: self.device,
            threads: self.threads.map(usize::from),
            batch: BatchOptions {
                wait: Duration::from_millis(self.batch_wait_ms),
                rows_max: usize::from(self.batch_max),
                ..BatchOptions::default()
            },
            ..Options::default()
        }
    }
}

impl DatabaseArgs {
    /// Opens a database that is there for reading only, whoever has it open for writing.
    fn open_read_only(&self) -> fromagerie::Result<Database> {
        Database::open_with(&self.db, Options { read_only: true, ..self.model.options(false) })
    }

    /// Opens the database; `create` makes it when it is not there.
    fn open(&self, create: bool) -> fromagerie::Result<Database> {
        Database::open_with(&self.db, self.model.options(create))
    }
}

/// Parses the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("FROMAGERIE_LOG").unwrap_or_else(|_| "warn,ort=error".into());
    let coloured = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(coloured).with_writer(std::io::stderr).init();
    let output = Output::new(cli.json);
    let result = match cli.command {
        Command::Serve(command) => command.run(&output),
        Command::Ingest(command) => command.run(&output),
        Command::Embed(command) => command.run(&output),
        Command::Jobs(command) => command.run(&output),
        Command::Reindex(command) => command.run(&output),
        Command::Generations(command) => command.run(&output),
        Command::Rollback(command) => command.run(&output),
        Command::Search(command) => command.run(&output),
        Command::Chat(command) => command.run(&output),
        Command::Generate(command) => command.run(),
        Command::Score(command) => command.run(),
        Command::Caption(command) => command.run(&output),
        Command::Collections(command) => command.run(&output),
        Command::List(command) => command.run(&output),
        Command::Update(command) => command.run(&output),
        Command::Verify(command) => command.run(&output),
        Command::Repair(command) => command.run(&output),
        Command::Snapshot(command) => command.run(&output),
        Command::Restore(command) => command.run(&output),
        Command::Compact(command) => command.run(&output),
        Command::Stats(command) => command.run(&output),
        Command::Doctor(command) => command.run(&output),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Partly) => ExitCode::from(1),
        Ok(Outcome::Bad) => ExitCode::from(3),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(if output::is_users_fault(&error) { 2 } else { 3 })
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_says_what_it_does_in_a_line_and_the_rest_under_help() {
        let command = Cli::command();
        command.clone().debug_assert();
        for each in command.get_subcommands() {
            let about = each.get_about().map(ToString::to_string).unwrap_or_default();
            assert!((10..=80).contains(&about.len()), "{}: {about:?}", each.get_name());
        }
        // A comment on the variant would hide the one on the command.
        let teaches = |name: &str| command.find_subcommand(name).is_some_and(|each| each.get_long_about().is_some());
        for name in ["ingest", "embed", "reindex", "search", "chat", "verify", "repair", "snapshot", "compact", "stats"]
        {
            assert!(teaches(name), "`{name} --help` is no more than its line");
        }
    }
}
