//! `JobService`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use fromagerie::{Database, Generation, IngestJob, Job, JobRun, JobSpec, ReindexJob};
use fromagerie_proto::v1::{self, job_service_server::JobService};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::blocking::blocking;
use super::convert_job as convert;
use super::status::missing;

type Answer<T> = Result<Response<T>, Status>;

/// How often a watched job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) struct Jobs {
    db: Database,
}

impl Jobs {
    pub(super) fn new(db: Database) -> Jobs {
        Jobs { db }
    }

    async fn start(&self, spec: JobSpec) -> Answer<v1::Job> {
        let db = self.db.clone();
        let run = blocking(move |_| {
            let job = db.start_job(spec)?;
            Ok((db.claim_job(&job.id)?, job))
        });
        let (run, job) = run.await?;
        run_beside(run);
        Ok(Response::new(convert::job(job)))
    }

    async fn get(&self, id: String) -> Answer<v1::Job> {
        let db = self.db.clone();
        Ok(Response::new(convert::job(blocking(move |_| db.job(&id)).await?)))
    }
}

/// Goes on with the jobs that were under way when the process before this one ended.
pub(crate) fn go_on(db: &Database) -> fromagerie::Result<()> {
    for job in db.interrupted_jobs()? {
        tracing::info!(job = job.id, "going on with an interrupted job");
        run_beside(db.claim_job(&job.id)?);
    }
    Ok(())
}

/// Runs a job on a thread of its own. How it ends is in its record.
fn run_beside(run: JobRun) {
    std::thread::spawn(move || {
        if let Err(error) = run.run(&mut |_| {}) {
            tracing::warn!(%error, "a job failed");
        }
    });
}

#[tonic::async_trait]
impl JobService for Jobs {
    async fn start_ingest(&self, request: Request<v1::StartIngestRequest>) -> Answer<v1::Job> {
        let request = request.into_inner();
        let thumbnails = convert::thumbnails(request.thumbnails()).unwrap_or_default();
        let input = request.input.ok_or_else(|| missing("input", "what is to be read"))?;
        if input.sources.is_empty() {
            return Err(missing("input.sources", "paths on the server's machine"));
        }
        self.start(JobSpec::Ingest(IngestJob {
            collection: request.collection,
            input: convert::input(input)?,
            features: request.with_features,
            thumbnails,
            vector_type: super::convert::vector_type(request.vector_type),
            sync: request.sync,
        }))
        .await
    }

    async fn start_reindex(&self, request: Request<v1::StartReindexRequest>) -> Answer<v1::Job> {
        let request = request.into_inner();
        let defaults = ReindexJob::default();
        let thumbnails = convert::thumbnails(request.thumbnails());
        self.start(JobSpec::Reindex(ReindexJob {
            alias: request.alias,
            input: convert::input(request.input.unwrap_or_default())?,
            bundle: (!request.bundle.is_empty()).then(|| PathBuf::from(request.bundle)),
            index: super::convert::index_kind(request.index),
            features: request.with_features,
            thumbnails,
            failures_max: request.failures_max,
            recall_min: request.recall_min.unwrap_or(defaults.recall_min),
            stay: request.stay,
        }))
        .await
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Answer<v1::Job> {
        self.get(request.into_inner().id).await
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Answer<v1::ListJobsResponse> {
        let (db, request) = (self.db.clone(), request.into_inner());
        let all = blocking(move |_| db.jobs()).await?;
        let (page, next_page_token) = numbered_page(all, request.page_size, &request.page_token);
        Ok(Response::new(v1::ListJobsResponse { jobs: page.into_iter().map(convert::job).collect(), next_page_token }))
    }

    type WatchJobStream = Pin<Box<dyn Stream<Item = Result<v1::Job, Status>> + Send>>;

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Answer<Self::WatchJobStream> {
        let (db, id) = (self.db.clone(), request.into_inner().id);
        let (send, jobs) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut told: Option<Job> = None;
            loop {
                let (db, id) = (db.clone(), id.clone());
                let found = blocking(move |_| db.job(&id)).await;
                let job = match found {
                    Ok(job) => job,
                    Err(status) => {
                        let _ = send.send(Err(status)).await;
                        return;
                    }
                };
                let goes_on = job.state == fromagerie::JobState::Running;
                if told.as_ref() != Some(&job) {
                    if send.send(Ok(convert::job(job.clone()))).await.is_err() {
                        return;
                    }
                    told = Some(job);
                }
                if !goes_on {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(jobs))))
    }

    async fn pause_job(&self, request: Request<v1::PauseJobRequest>) -> Answer<v1::Job> {
        let (db, id) = (self.db.clone(), request.into_inner().id);
        Ok(Response::new(convert::job(blocking(move |_| db.pause_job(&id)).await?)))
    }

    async fn resume_job(&self, request: Request<v1::ResumeJobRequest>) -> Answer<v1::Job> {
        let (db, id) = (self.db.clone(), request.into_inner().id);
        let wanted = id.clone();
        run_beside(blocking(move |_| db.claim_job(&wanted)).await?);
        self.get(id).await
    }

    async fn cancel_job(&self, request: Request<v1::CancelJobRequest>) -> Answer<v1::Job> {
        let (db, id) = (self.db.clone(), request.into_inner().id);
        Ok(Response::new(convert::job(blocking(move |_| db.cancel_job(&id)).await?)))
    }

    async fn delete_job(&self, request: Request<v1::DeleteJobRequest>) -> Answer<v1::DeleteJobResponse> {
        let (db, id) = (self.db.clone(), request.into_inner().id);
        blocking(move |_| db.delete_job(&id)).await?;
        Ok(Response::new(v1::DeleteJobResponse {}))
    }

    async fn list_job_failures(
        &self,
        request: Request<v1::ListJobFailuresRequest>,
    ) -> Answer<v1::ListJobFailuresResponse> {
        let (db, request) = (self.db.clone(), request.into_inner());
        let (size, from) = page_bounds(request.page_size, &request.page_token);
        let lines = blocking(move |_| {
            db.job(&request.id)?;
            let Ok(file) = std::fs::File::open(db.job_failures(&request.id)?) else { return Ok(Vec::new()) };
            Ok(BufReader::new(file).lines().map_while(Result::ok).skip(from).take(size + 1).collect())
        })
        .await?;
        let next_page_token = if lines.len() > size { (from + size).to_string() } else { String::new() };
        let failures = lines.iter().take(size).filter_map(|line| convert::failure(line)).collect();
        Ok(Response::new(v1::ListJobFailuresResponse { failures, next_page_token }))
    }

    async fn list_generations(
        &self,
        request: Request<v1::ListGenerationsRequest>,
    ) -> Answer<v1::ListGenerationsResponse> {
        let (db, alias) = (self.db.clone(), request.into_inner().alias);
        let found = blocking(move |_| db.generations(&alias)).await?;
        let generations = found.into_iter().map(generation).collect();
        Ok(Response::new(v1::ListGenerationsResponse { generations }))
    }

    async fn rollback_alias(&self, request: Request<v1::RollbackAliasRequest>) -> Answer<v1::Alias> {
        let (db, request) = (self.db.clone(), request.into_inner());
        let name = request.alias.clone();
        let collection = blocking(move |_| {
            let to = Some(request.collection.as_str()).filter(|to| !to.is_empty());
            db.rollback(&request.alias, to)
        })
        .await?;
        Ok(Response::new(v1::Alias { name, collection }))
    }

    async fn drop_generation(&self, request: Request<v1::DropGenerationRequest>) -> Answer<v1::DropGenerationResponse> {
        let (db, request) = (self.db.clone(), request.into_inner());
        blocking(move |_| db.drop_generation(&request.alias, &request.collection)).await?;
        Ok(Response::new(v1::DropGenerationResponse {}))
    }
}

/// A page of what is in a fixed order; the token is the number of the next one.
fn numbered_page<T>(all: Vec<T>, size: u32, token: &str) -> (Vec<T>, String) {
    let (size, from) = page_bounds(size, token);
    let more = all.len() > from + size;
    let page = all.into_iter().skip(from).take(size).collect();
    (page, if more { (from + size).to_string() } else { String::new() })
}

fn page_bounds(size: u32, token: &str) -> (usize, usize) {
    let size = if size == 0 { 100 } else { size.min(1000) as usize };
    (size, token.parse().unwrap_or(0))
}

fn generation(generation: Generation) -> v1::Generation {
    v1::Generation {
        collection: generation.collection,
        number: generation.number.unwrap_or(0),
        current: generation.is_current,
        item_count: generation.items,
        sealed_bytes: generation.sealed_bytes,
        space: generation.space.map(hex::encode).unwrap_or_default(),
        replaces: generation.replaces.unwrap_or_default(),
    }
}
