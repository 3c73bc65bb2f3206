//! Transport: `fromagerie.v1` over HTTP/2, with health and reflection.
//!
//! Handlers only translate: a request becomes engine types ([`convert`]), the engine works on a blocking thread
//! ([`blocking`]), an error becomes a status in one function ([`status`]). A client that goes away, or whose
//! deadline passes, drops the handler's future, and the work behind it stops at its next step.

mod admin;
mod blocking;
mod client;
mod collections;
mod convert;
mod convert_job;
mod dialogue;
mod explained;
mod jobs;
mod mask;
mod models;
mod search;
mod status;
mod stop;
mod token;

pub(crate) use client::{JobClient, ServerError};
pub(crate) use convert_job::job as job_message;

use std::net::SocketAddr;

use fromagerie::Database;
use fromagerie_proto::FILE_DESCRIPTOR_SET;
use fromagerie_proto::v1::{
    admin_service_server::AdminServiceServer, collection_service_server::CollectionServiceServer,
    dialogue_service_server::DialogueServiceServer, job_service_server::JobServiceServer,
    model_service_server::ModelServiceServer, search_service_server::SearchServiceServer,
};
use tokio::net::TcpListener;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::util::MapResponseLayer;

pub(crate) use jobs::go_on;

/// Largest message in either direction: a batch of pictures fits, a mistake does not fill memory.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What a call may send before it is read, and what all calls of a connection may: a batch of queries or of pictures goes
/// out without waiting for the other side, and a connection cannot make us hold more.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Why nobody may come in.
#[derive(Debug)]
pub(crate) enum ListenError {
    /// A public address, and no token.
    Unguarded(SocketAddr),
    EmptyToken,
    BadToken,
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenError::Unguarded(address) => write!(
                f,
                "{address} can be reached from other machines, and no token is asked for: set FROMAGERIE_TOKEN, listen on \
                 127.0.0.1, or say --allow-public if something else keeps strangers out"
            ),
            ListenError::EmptyToken => f.write_str("the token is empty: set FROMAGERIE_TOKEN to a secret, or unset it"),
            ListenError::BadToken => {
                f.write_str("a token has letters, digits and signs alone: no call can carry spaces or other characters")
            }
        }
    }
}

impl std::error::Error for ListenError {}

/// Refuses a token that protects nothing or that no call can carry, and a public address without one, unless that was asked
/// for.
pub(crate) fn check_address(address: SocketAddr, token: Option<&str>, allow_public: bool) -> Result<(), ListenError> {
    match token {
        Some("") => Err(ListenError::EmptyToken),
        Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => Err(ListenError::BadToken),
        None if !address.ip().is_loopback() && !allow_public => Err(ListenError::Unguarded(address)),
        _ => Ok(()),
    }
}

/// Serves `db` on `listener` until a signal, and then what is under way for a while: see [`stop`].
pub(crate) async fn serve(db: Database, listener: TcpListener, token: Option<String>) -> anyhow::Result<()> {
    let guard = token::Guard::new(token);
    let collections = CollectionServiceServer::new(collections::Collections::new(db.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let search = SearchServiceServer::new(search::Search::new(db.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let dialogue = DialogueServiceServer::new(dialogue::Dialogue::new(db.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let admin = AdminServiceServer::new(admin::Admin::new(db.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let jobs = JobServiceServer::new(jobs::Jobs::new(db.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let models = ModelServiceServer::new(models::Models::new(db))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);

    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<CollectionServiceServer<collections::Collections>>().await;
    health.set_serving::<SearchServiceServer<search::Search>>().await;
    health.set_serving::<DialogueServiceServer<dialogue::Dialogue>>().await;
    health.set_serving::<ModelServiceServer<models::Models>>().await;
    health.set_serving::<AdminServiceServer<admin::Admin>>().await;
    health.set_serving::<JobServiceServer<jobs::Jobs>>().await;
    // Both versions: many clients still speak the alpha only.
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };

    // Without it, an answer of more than one packet waits for the client's delayed acknowledgement: 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let router = Server::builder()
        .layer(MapResponseLayer::new(explained::explained))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(health_service)
        .add_service(InterceptedService::new(described().build_v1()?, guard.clone()))
        .add_service(InterceptedService::new(described().build_v1alpha()?, guard.clone()))
        .add_service(InterceptedService::new(collections, guard.clone()))
        .add_service(InterceptedService::new(search, guard.clone()))
        .add_service(InterceptedService::new(dialogue, guard.clone()))
        .add_service(InterceptedService::new(models, guard.clone()))
        .add_service(InterceptedService::new(jobs, guard.clone()))
        .add_service(InterceptedService::new(admin, guard));
    stop::until_signalled(|stopped| {
        router.serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
        })
    })
    .await
}
