//! What the command line asks a server that is running: jobs and generations.

use fromagerie_proto::v1::{self, job_service_client::JobServiceClient};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

type Client = JobServiceClient<InterceptedService<Channel, Bearer>>;

/// Adds the token to each call.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// What the server, or the way to it, refused.
#[derive(Debug)]
pub(crate) struct ServerError(String);

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServerError {}

impl From<Status> for ServerError {
    fn from(status: Status) -> ServerError {
        ServerError(match status.code() {
            Code::Unauthenticated => format!("{}; set FROMAGERIE_TOKEN", status.message()),
            _ => status.message().to_owned(),
        })
    }
}

/// A connection to a server's jobs.
pub(crate) struct JobClient {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl JobClient {
    /// Connects to `address`, such as `127.0.0.1:50051`.
    pub(crate) fn connect(address: &str, token: Option<&str>) -> anyhow::Result<JobClient> {
        let token = token.map(|token| format!("Bearer {token}").parse()).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let endpoint = Channel::from_shared(url).map_err(|e| ServerError(format!("{address:?} is no address: {e}")))?;
        let channel = runtime.block_on(endpoint.connect()).map_err(|e| {
            let cause = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            ServerError(format!("no server answers at {address}: {cause}; is `fromagerie serve` running there?"))
        })?;
        Ok(JobClient { runtime, client: JobServiceClient::with_interceptor(channel, Bearer(token)) })
    }

    pub(crate) fn list(&mut self) -> Result<Vec<v1::Job>, ServerError> {
        let (mut jobs, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListJobsRequest { page_size: 0, page_token };
            let page = self.runtime.block_on(self.client.list_jobs(request))?.into_inner();
            jobs.extend(page.jobs);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(jobs);
            }
        }
    }

    pub(crate) fn show(&mut self, id: String) -> Result<v1::Job, ServerError> {
        Ok(self.runtime.block_on(self.client.get_job(v1::GetJobRequest { id }))?.into_inner())
    }

    pub(crate) fn pause(&mut self, id: String) -> Result<v1::Job, ServerError> {
        Ok(self.runtime.block_on(self.client.pause_job(v1::PauseJobRequest { id }))?.into_inner())
    }

    pub(crate) fn resume(&mut self, id: String) -> Result<v1::Job, ServerError> {
        Ok(self.runtime.block_on(self.client.resume_job(v1::ResumeJobRequest { id }))?.into_inner())
    }

    pub(crate) fn cancel(&mut self, id: String) -> Result<v1::Job, ServerError> {
        Ok(self.runtime.block_on(self.client.cancel_job(v1::CancelJobRequest { id }))?.into_inner())
    }

    pub(crate) fn delete(&mut self, id: String) -> Result<(), ServerError> {
        self.runtime.block_on(self.client.delete_job(v1::DeleteJobRequest { id }))?;
        Ok(())
    }

    /// Hands over the job whenever it changes, until it stops.
    pub(crate) fn watch(
        &mut self,
        id: String,
        on_job: &mut dyn FnMut(v1::Job) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let watched = self.runtime.block_on(self.client.watch_job(v1::WatchJobRequest { id }));
        let mut jobs = watched.map_err(ServerError::from)?.into_inner();
        while let Some(job) = self.runtime.block_on(jobs.message()).map_err(ServerError::from)? {
            on_job(job)?;
        }
        Ok(())
    }
}
