//! `fromagerie jobs`.

use std::time::Duration;

use clap::{Args, Subcommand};
use fromagerie::{Ask, Database, IngestEvent, Job, ask_job};
use fromagerie_proto::v1;
use serde_json::{Value, json};

use super::output::UsageError;
use super::{DatabaseArgs, FilesArgs, ModelArgs, Outcome, Output};
use crate::grpc::{JobClient, job_message};

/// How often a watched job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// List, watch, pause, resume and cancel ingests and re-indexes.
#[derive(Args)]
pub(super) struct Jobs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Place {
    /// The database's directory; beside a process that has it open, jobs are read, paused and cancelled.
    #[arg(long, value_name = "DIR", env = "FROMAGERIE_DB", global = true)]
    db: Option<std::path::PathBuf>,
    /// A server's address, such as 127.0.0.1:50051, in the place of a directory; its token is FROMAGERIE_TOKEN.
    #[arg(long, value_name = "ADDRESS", global = true)]
    server: Option<String>,
}

#[derive(Subcommand)]
enum What {
    /// Every job, oldest first.
    List,
    /// One job.
    Show(Id),
    /// One job, until it stops.
    Watch(Id),
    /// Stop it at its next batch, where it can be gone on with.
    Pause(Id),
    /// Go on with it: here with --db, or in the server.
    Resume(Resume),
    /// Stop it for good. What it wrote stays.
    Cancel(Id),
    /// Forget it, with its report.
    Delete(Id),
}

#[derive(Args)]
struct Id {
    /// The job, as `jobs list` names it.
    #[arg(value_name = "JOB")]
    id: String,
}

#[derive(Args)]
struct Resume {
    #[command(flatten)]
    job: Id,
    #[command(flatten)]
    model: ModelArgs,
}

impl Jobs {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        match (&self.place.server, &self.place.db) {
            (Some(address), _) => of_server(&self.what, address, output),
            (None, Some(db)) => of_directory(self.what, &FilesArgs { db: db.clone() }, output),
            (None, None) => Err(UsageError("give --db or --server".to_owned()).into()),
        }
    }
}

fn of_server(what: &What, address: &str, output: &Output) -> anyhow::Result<Outcome> {
    let token = std::env::var("FROMAGERIE_TOKEN").ok();
    let mut client = JobClient::connect(address, token.as_deref())?;
    let job = match what {
        What::List => return list(client.list()?, output),
        What::Show(Id { id }) => client.show(id.clone())?,
        What::Pause(Id { id }) => client.pause(id.clone())?,
        What::Resume(Resume { job: Id { id }, .. }) => client.resume(id.clone())?,
        What::Cancel(Id { id }) => client.cancel(id.clone())?,
        What::Watch(Id { id }) => {
            let mut last = None;
            client.watch(id.clone(), &mut |job| {
                tell(&job, output)?;
                last = Some(job);
                Ok(())
            })?;
            return Ok(last.as_ref().map_or(Outcome::Done, outcome));
        }
        What::Delete(Id { id }) => {
            client.delete(id.clone())?;
            output.line(&format!("{id} is forgotten"), &json!({"event": "deleted", "id": id}))?;
            return Ok(Outcome::Done);
        }
    };
    tell(&job, output)?;
    Ok(Outcome::Done)
}

fn of_directory(what: What, files: &FilesArgs, output: &Output) -> anyhow::Result<Outcome> {
    let reading = || files.open(true);
    match what {
        What::List => {
            let db = reading()?;
            for (id, error) in db.unreadable_jobs()? {
                output.line(
                    &error.to_string(),
                    &json!({"event": "unreadable", "id": id, "message": error.to_string()}),
                )?;
            }
            list(db.jobs()?.into_iter().map(job_message).collect(), output)
        }
        What::Show(Id { id }) => {
            tell(&job_message(reading()?.job(&id)?), output)?;
            Ok(Outcome::Done)
        }
        What::Watch(Id { id }) => watch(&reading()?, &id, output),
        What::Pause(Id { id }) => ask(files, &id, Ask::Pause, output),
        What::Cancel(Id { id }) => ask(files, &id, Ask::Cancel, output),
        What::Resume(Resume { job, model }) => {
            let db = DatabaseArgs { db: files.db.clone(), model }.open(false)?;
            let job = run(&db, &job.id, output)?;
            tell(&job_message(job.clone()), output)?;
            Ok(outcome(&job_message(job)))
        }
        What::Delete(Id { id }) => {
            files.open(false)?.delete_job(&id)?;
            output.line(&format!("{id} is forgotten"), &json!({"event": "deleted", "id": id}))?;
            Ok(Outcome::Done)
        }
    }
}

/// Asks a job to stop, also one that another process runs.
fn ask(files: &FilesArgs, id: &str, ask: Ask, output: &Output) -> anyhow::Result<Outcome> {
    match files.open(false) {
        Ok(db) => {
            let job = if ask == Ask::Pause { db.pause_job(id)? } else { db.cancel_job(id)? };
            tell(&job_message(job), output)?;
        }
        Err(error) if error.reason() == "LOCKED" => {
            files.open(true)?.job(id)?;
            ask_job(&files.db, id, ask)?;
            let word = if ask == Ask::Pause { "pause" } else { "cancel" };
            output.line(&format!("{id} is asked to {word}"), &json!({"event": "asked", "id": id, "to": word}))?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Outcome::Done)
}

fn watch(db: &Database, id: &str, output: &Output) -> anyhow::Result<Outcome> {
    let mut told: Option<Job> = None;
    loop {
        let job = db.job(id)?;
        if told.as_ref() != Some(&job) {
            tell(&job_message(job.clone()), output)?;
            told = Some(job.clone());
        }
        if job.state != fromagerie::JobState::Running {
            return Ok(outcome(&job_message(job)));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Runs a job here, with its progress shown.
pub(super) fn run(db: &Database, id: &str, output: &Output) -> anyhow::Result<Job> {
    let bar = super::records::bar(output);
    let mut told = Ok(());
    let job = db.run_job(id, &mut |event: IngestEvent<'_>| {
        if told.is_ok() {
            told = super::records::tell(&event, output, &bar);
        }
    });
    bar.finish_and_clear();
    told?;
    Ok(job?)
}

fn list(jobs: Vec<v1::Job>, output: &Output) -> anyhow::Result<Outcome> {
    for job in &jobs {
        tell(job, output)?;
    }
    if jobs.is_empty() {
        output.text("no jobs\n")?;
    }
    output.value(&json!({"event": "summary", "jobs": jobs.len()}))?;
    Ok(Outcome::Done)
}

fn outcome(job: &v1::Job) -> Outcome {
    match job.state() {
        v1::JobState::Failed => Outcome::Bad,
        _ if job.progress.as_ref().is_some_and(|progress| progress.failed_count > 0) => Outcome::Partly,
        _ => Outcome::Done,
    }
}

/// A job in one line, or as JSON.
pub(super) fn tell(job: &v1::Job, output: &Output) -> std::io::Result<()> {
    let progress = job.progress.unwrap_or_default();
    let of = progress.item_count.map_or(String::new(), |items| format!(" of {items}"));
    let mut text = format!(
        "{}  {}  {}  into {:?}  {}{of} records",
        job.id,
        word(job.state().as_str_name(), "JOB_STATE_"),
        word(job.phase().as_str_name(), "JOB_PHASE_"),
        job.collection,
        progress.found_count,
    );
    if progress.failed_count > 0 {
        text += &format!("  {} left out", progress.failed_count);
    }
    if job.state() == v1::JobState::Running && progress.items_per_second > 0.0 {
        text += &format!("  {:.1}/s", progress.items_per_second);
        if let Some(seconds) = progress.seconds_left {
            text += &format!("  {seconds:.0} s left");
        }
    }
    for check in &job.checks {
        text += &format!("\n  {} {}: {}", if check.passed { "ok" } else { "NOT OK" }, check.name, check.found);
    }
    if let Some(error) = &job.error {
        text += &format!("\n  {}", error.message);
    }
    output.line(&text, &value(job))
}

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

/// The message as JSON, with the words of enumerations as they are written everywhere else.
fn value(job: &v1::Job) -> Value {
    let progress = job.progress.unwrap_or_default();
    let checks = job.checks.iter();
    json!({
        "event": "job", "id": job.id, "kind": job.kind, "done": job.done,
        "state": word(job.state().as_str_name(), "JOB_STATE_"), "phase": word(job.phase().as_str_name(), "JOB_PHASE_"),
        "collection": job.collection, "alias": job.alias, "items": progress.item_count,
        "found": progress.found_count, "written": progress.written_count, "unchanged": progress.unchanged_count,
        "duplicates": progress.duplicate_count, "skipped": progress.skipped_count, "failed": progress.failed_count,
        "removed": job.removed_count, "seconds": progress.seconds, "items_per_second": progress.items_per_second,
        "seconds_left": progress.seconds_left,
        "checks": checks.map(|c| json!({"name": c.name, "passed": c.passed, "found": c.found})).collect::<Vec<_>>(),
        "error": job.error.as_ref().map(|error| json!({"reason": error.reason, "message": error.message})),
    })
}
