//! `fromagerie serve`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;

use super::output::UsageError;
use super::{DatabaseArgs, Outcome, Output};
use crate::grpc;

/// Answer over gRPC until stopped.
#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Address and port; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Calls must carry `authorization: Bearer TOKEN`.
    #[arg(long, env = "FROMAGERIE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Listen on an address that others can reach even without a token.
    #[arg(long)]
    allow_public: bool,
}

impl Serve {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        grpc::check_address(self.listen, self.token.as_deref(), self.allow_public)?;
        let db = self.database.open(true)?;
        // A server whose model cannot be loaded should say so now. One without a bundle serves vectors.
        let model = match db.model() {
            Ok(loaded) => {
                loaded.warm_up()?;
                Some(loaded.model.manifest().name.clone())
            }
            Err(fromagerie::Error::NoModel { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::bind(self.listen)
                .await
                .map_err(|e| UsageError(format!("cannot listen on {}: {e}", self.listen)))?;
            let address = listener.local_addr()?;
            grpc::go_on(&db)?;
            output.line(
                &format!("listening on {address}"),
                &json!({"event": "listening", "address": address.to_string(), "model": model}),
            )?;
            if model.is_none() {
                tracing::warn!("no bundle: serving collections of vectors only");
            }
            grpc::serve(db, listener, self.token).await.context("the server failed")
        })?;
        // What still computes has learned that nobody waits any more.
        runtime.shutdown_timeout(Duration::from_secs(1));
        // Whoever read the address may have stopped reading long ago.
        let _ = output.line("stopped", &json!({"event": "stopped"}));
        Ok(Outcome::Done)
    }
}
