//! Jobs to messages, and what they read back. No decisions are made here.

use std::path::PathBuf;

use fromagerie::{Columns, Job, JobInput, JobPhase, JobSpec, JobState, SourceOptions, Thumbnails};
use fromagerie_proto::v1;
use serde_json::Value;
use tonic::Status;

use super::status::bad;

pub(super) fn input(input: v1::JobInput) -> Result<JobInput, Status> {
    let text = |text: String| (!text.is_empty()).then_some(text);
    let path = |path: String| (!path.is_empty()).then(|| PathBuf::from(path));
    let format = match input.format.as_str() {
        "" => None,
        word => Some(word.parse().map_err(|problem: String| bad("input.format", &problem))?),
    };
    let columns = Columns {
        image: text(input.image_column),
        caption: text(input.caption_column),
        key: text(input.key_column),
        vector: text(input.vector_column),
    };
    Ok(JobInput {
        sources: input.sources.into_iter().map(PathBuf::from).collect(),
        source: SourceOptions {
            format,
            columns,
            image_root: path(input.image_root),
            captions: path(input.captions),
            keys: path(input.keys),
            ..SourceOptions::default()
        },
        // Whom the server's machine can reach is not for a client to widen.
        allow_private_addresses: false,
        skip_duplicates: input.skip_duplicates,
        same_space: input.same_space,
        batch: if input.batch == 0 { JobInput::default().batch } else { input.batch as usize },
    })
}

pub(super) fn thumbnails(kind: v1::ThumbnailKind) -> Option<Thumbnails> {
    match kind {
        v1::ThumbnailKind::Unspecified => None,
        v1::ThumbnailKind::Jpeg => Some(Thumbnails::Jpeg),
        v1::ThumbnailKind::Webp => Some(Thumbnails::Webp),
        v1::ThumbnailKind::None => Some(Thumbnails::None),
    }
}

pub(super) fn thumbnail_kind(thumbnails: Thumbnails) -> v1::ThumbnailKind {
    match thumbnails {
        Thumbnails::Jpeg => v1::ThumbnailKind::Jpeg,
        Thumbnails::Webp => v1::ThumbnailKind::Webp,
        Thumbnails::None => v1::ThumbnailKind::None,
    }
}

pub(crate) fn job(job: Job) -> v1::Job {
    let state = match job.state {
        JobState::Running => v1::JobState::Running,
        JobState::Interrupted => v1::JobState::Interrupted,
        JobState::Paused => v1::JobState::Paused,
        JobState::Cancelled => v1::JobState::Cancelled,
        JobState::Succeeded => v1::JobState::Succeeded,
        JobState::Failed => v1::JobState::Failed,
    };
    let phase = match job.phase {
        JobPhase::Build => v1::JobPhase::Build,
        JobPhase::Seal => v1::JobPhase::Seal,
        JobPhase::Verify => v1::JobPhase::Verify,
        JobPhase::Swap => v1::JobPhase::Swap,
        JobPhase::Done => v1::JobPhase::Done,
    };
    let alias = match &job.spec {
        JobSpec::Reindex(reindex) => reindex.alias.clone(),
        JobSpec::Ingest(_) => String::new(),
    };
    let checks = job.checks.into_iter();
    let checks = checks.map(|check| v1::Check { name: check.name, passed: check.passed, found: check.found });
    let (progress, report) = (job.progress, job.progress.report);
    v1::Job {
        kind: job.spec.kind().to_owned(),
        id: job.id,
        state: state as i32,
        phase: phase as i32,
        done: job.state.is_final() || job.state == JobState::Failed,
        error: job.error.map(|error| v1::JobError { reason: error.reason, message: error.message }),
        collection: job.collection,
        alias,
        progress: Some(v1::JobProgress {
            item_count: progress.items,
            found_count: report.found as u64,
            written_count: report.written as u64,
            unchanged_count: report.unchanged as u64,
            duplicate_count: report.duplicates as u64,
            skipped_count: report.skipped as u64,
            failed_count: report.failed as u64,
            unknown_count: report.unknown as u64,
            seconds: report.seconds,
            items_per_second: progress.rate,
            seconds_left: progress.seconds_left,
        }),
        checks: checks.collect(),
        removed_count: job.removed,
        create_time_s: job.created,
        update_time_s: job.updated,
    }
}

/// A line of a job's report; `None` for a line that was cut off.
pub(super) fn failure(line: &str) -> Option<v1::JobFailure> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Some(v1::JobFailure {
        key: text("key"),
        source: text("source"),
        stage: text("stage"),
        reason: text("reason"),
        message: text("message"),
        offset: value["offset"].as_u64(),
        row: value["row"].as_u64(),
        line: value["line"].as_u64(),
    })
}
