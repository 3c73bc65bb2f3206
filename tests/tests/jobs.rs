//! Goal: jobs are begun, watched, stopped and gone on with over the wire and on the command line, and embedded tables give
//! what a local ingest gives. Method: the binary, the tiny bundle, pictures of plain colours.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Served, fill, fromagerie, json, tiny_bundle};
use fromagerie::{Database, Options};
use fromagerie_proto::v1::{self, job_service_client::JobServiceClient};
use serde_json::Value;
use tokio_stream::StreamExt;

fn said(arguments: &[&str], paths: &[&Path]) -> (i32, Vec<Value>, String) {
    let mut command = fromagerie(arguments);
    json(command.args(paths), "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_runs_jobs_and_goes_on_with_what_another_began() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, db, bundle) = (folder.path().join("p"), folder.path().join("cellar"), tiny_bundle());
    std::fs::create_dir(&pictures).unwrap();
    fill(&pictures, 40);
    std::fs::write(pictures.join("00003.png"), "no picture").unwrap();
    let server = Served::start(&db, Some(&bundle), &[]);
    let mut jobs = JobServiceClient::connect(server.url()).await.unwrap();
    let input = v1::JobInput { sources: vec![pictures.display().to_string()], batch: 8, ..Default::default() };
    let start = v1::StartReindexRequest {
        alias: "photos".into(),
        input: Some(input.clone()),
        failures_max: 1,
        ..Default::default()
    };
    let started = jobs.start_reindex(start).await.unwrap().into_inner();
    assert_eq!((started.kind.as_str(), started.done), ("reindex", false));
    let watched = jobs.watch_job(v1::WatchJobRequest { id: started.id.clone() }).await.unwrap().into_inner();
    let seen: Vec<v1::Job> = watched.map(Result::unwrap).collect().await;
    let last = seen.last().unwrap();
    assert_eq!((last.state(), last.done, last.phase()), (v1::JobState::Succeeded, true, v1::JobPhase::Done));
    let progress = last.progress.unwrap();
    assert_eq!((progress.found_count, progress.written_count, progress.failed_count), (40, 39, 1));
    assert!(last.checks.len() == 4 && last.checks.iter().all(|check| check.passed), "{:?}", last.checks);
    let failures = v1::ListJobFailuresRequest { id: started.id.clone(), ..Default::default() };
    let failures = jobs.list_job_failures(failures).await.unwrap().into_inner().failures;
    assert_eq!((failures.len(), failures[0].key.as_str()), (1, "00003.png"));

    let missing = jobs.get_job(v1::GetJobRequest { id: "nothing".into() }).await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);
    let ended = jobs.cancel_job(v1::CancelJobRequest { id: started.id.clone() }).await.unwrap_err();
    assert_eq!(ended.code(), tonic::Code::FailedPrecondition);
    let none = v1::RollbackAliasRequest { alias: "photos".into(), ..Default::default() };
    assert_eq!(jobs.rollback_alias(none).await.unwrap_err().code(), tonic::Code::NotFound);

    // Begun, and killed at once: the next server goes on with it.
    let start = v1::StartIngestRequest { collection: "more".into(), input: Some(input), ..Default::default() };
    let second = jobs.start_ingest(start).await.unwrap().into_inner();
    drop(server);
    let server = Served::start(&db, Some(&bundle), &[]);
    let mut jobs = JobServiceClient::connect(server.url()).await.unwrap();
    let watched = jobs.watch_job(v1::WatchJobRequest { id: second.id.clone() }).await.unwrap().into_inner();
    let last = watched.map(Result::unwrap).collect::<Vec<_>>().await.pop().unwrap();
    assert_eq!((last.state(), last.progress.unwrap().found_count), (v1::JobState::Succeeded, 40));

    let address = ["--server", &server.address];
    let (code, lines, says) = said(&["jobs", "list", address[0], address[1]], &[]);
    assert_eq!((code, lines.len()), (0, 3), "{says}");
    // Beside the server, from its directory.
    let (code, lines, says) = said(&["jobs", "show", &second.id, "--db"], &[&db]);
    assert_eq!((code, lines[0]["state"].as_str()), (0, Some("succeeded")), "{says}");
    let (code, _, says) = said(&["jobs", "show", "nothing", "--db"], &[&db]);
    assert!(code == 2 && says.contains("nothing"), "{code}: {says}");
}

#[test]
fn a_generation_is_replaced_and_brought_back_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, db, bundle) = (folder.path().join("p"), folder.path().join("cellar"), tiny_bundle());
    std::fs::create_dir(&pictures).unwrap();
    fill(&pictures, 12);
    let bundle = bundle.to_str().unwrap();
    for more in [&[pictures.as_path()][..], &[]] {
        let mut arguments = vec![db.as_path()];
        arguments.extend(more);
        let (code, lines, says) = said(&["reindex", "--alias", "photos", "--bundle", bundle, "--db"], &arguments);
        assert_eq!((code, lines.last().unwrap()["state"].as_str()), (0, Some("succeeded")), "{says}");
    }
    let list = || said(&["generations", "list", "--alias", "photos", "--db"], &[&db]).1;
    let current = |lines: &[Value]| lines.iter().find(|g| g["current"] == true).unwrap()["collection"].clone();
    assert_eq!((list().len(), current(&list())), (3, "photos.g2".into()));
    assert_eq!(said(&["rollback", "--alias", "photos", "--db"], &[&db]).0, 0);
    assert_eq!(current(&list()), "photos.g1");
    assert_eq!(said(&["generations", "drop", "--alias", "photos", "photos.g1", "--db"], &[&db]).0, 2);
    assert_eq!(said(&["generations", "drop", "--alias", "photos", "photos.g2", "--db"], &[&db]).0, 0);
    assert_eq!(list().len(), 2);
}

#[test]
fn tables_that_were_embedded_in_parts_give_what_a_local_ingest_gives() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, db, bundle) = (folder.path().join("p"), folder.path().join("cellar"), tiny_bundle());
    let tables = folder.path().join("tables");
    std::fs::create_dir(&pictures).unwrap();
    std::fs::create_dir(&tables).unwrap();
    fill(&pictures, 30);
    std::fs::write(pictures.join("00004.txt"), "a colour").unwrap();
    let bundle = bundle.to_str().unwrap();
    for (part, name) in [("0/3", "a.parquet"), ("1/3", "b.parquet"), ("2/3", "c.parquet")] {
        let arguments = ["embed", "--with-features", "--bundle", bundle, "--part", part, "--out"];
        let (code, lines, says) = said(&arguments, &[&tables.join(name), &pictures]);
        assert_eq!((code, lines.last().unwrap()["written"].as_u64()), (0, Some(10)), "{says}");
    }
    for (collection, source) in [("local", &pictures), ("spread", &tables)] {
        let arguments = ["ingest", "--with-features", "--bundle", bundle, "--collection", collection, "--db"];
        let (code, lines, says) = said(&arguments, &[&db, source]);
        assert_eq!((code, lines.last().unwrap()["written"].as_u64()), (0, Some(30)), "{says}");
    }
    let again = ["ingest", "--with-features", "--bundle", bundle, "--collection", "spread", "--db"];
    assert_eq!(said(&again, &[&db, &tables]).1.last().unwrap()["unchanged"].as_u64(), Some(30));
    let db = Database::open_with(&db, Options { create: false, ..Options::default() }).unwrap();
    let (local, spread) = (db.open_collection("local").unwrap(), db.open_collection("spread").unwrap());
    assert_eq!((local.space(), local.len()), (spread.space(), spread.len()));
    for n in 0..30 {
        let key = format!("{n:05}.png");
        let (a, b) = (local.require(&key).unwrap(), spread.require(&key).unwrap());
        assert_eq!(a.document, b.document);
        assert!(a.vector.iter().zip(&b.vector).all(|(a, b)| (a - b).abs() < 1e-6), "{key}");
        assert!(a.features.unwrap().iter().zip(b.features.unwrap()).all(|(a, b)| (a - b).abs() < 1e-5), "{key}");
    }
}
