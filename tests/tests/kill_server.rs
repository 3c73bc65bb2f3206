//! Goal: a server that is killed under load loses nothing that it acknowledged, and starts again. Method: `kill -9` of
//! the real server while eight clients put, replace and delete over gRPC, 20 times at random instants (200 under
//! `FROMAGERIE_TORTURE`). After each, the files are opened: every key is as the last acknowledged request left it, or as
//! the one request of its client that had no answer yet; then that request is sent to the next server again, under its id.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "../../storage/tests/common/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use common::Served;
use fromagerie::{Database, Options};
use fromagerie_proto::v1::{self, collection_service_client::CollectionServiceClient, item::Content};
use random::Random;
use tonic::transport::Channel;

const WRITERS: usize = 8;
const KEYS: usize = 400;
const DIM: usize = 16;

/// One request: keys of its writer, each with a new value or, for a delete, none.
#[derive(Clone)]
struct Request {
    id: String,
    changes: BTreeMap<String, Option<u32>>,
}

/// What one writer knows of its keys.
#[derive(Default)]
struct Writer {
    number: usize,
    sent: u32,
    acknowledged: u64,
    state: BTreeMap<String, u32>,
    unanswered: Option<Request>,
}

impl Writer {
    fn next(&mut self, random: &mut Random) -> Request {
        self.sent += 1;
        let deletes = random.chance(1, 5);
        let count = if random.chance(1, 4) { 1 + random.below(200) } else { 1 };
        let key = |random: &mut Random| format!("writer {} key {}", self.number, random.below(KEYS));
        let changes = (0..count).map(|_| (key(random), (!deletes).then_some(self.sent))).collect();
        Request { id: format!("writer {} request {}", self.number, self.sent), changes }
    }

    /// Sends requests until the server is gone.
    async fn write(mut self, channel: Channel, seed: u64) -> Writer {
        let (mut client, mut random) = (CollectionServiceClient::new(channel), Random::new(seed));
        loop {
            let request = self.unanswered.take().unwrap_or_else(|| self.next(&mut random));
            if send(&mut client, &request).await.is_err() {
                self.unanswered = Some(request);
                return self;
            }
            self.acknowledged += request.changes.len() as u64;
            apply(&mut self.state, &request);
        }
    }
}

async fn send(client: &mut CollectionServiceClient<Channel>, request: &Request) -> Result<(), tonic::Status> {
    let (collection, request_id) = ("items".to_owned(), request.id.clone());
    if request.changes.values().any(Option::is_none) {
        let keys = request.changes.keys().cloned().collect();
        client.delete_items(v1::DeleteItemsRequest { collection, keys, request_id }).await?;
        return Ok(());
    }
    let items = request.changes.iter().map(|(key, value)| {
        let values = (0..DIM).map(|at| if at == 0 { value.unwrap() as f32 } else { 1.0 }).collect();
        let content = Some(Content::Vector(v1::Vector { values }));
        v1::Item { key: key.clone(), content, caption: value.unwrap().to_string(), ..Default::default() }
    });
    client.upsert_items(v1::UpsertItemsRequest { collection, items: items.collect(), request_id }).await?;
    Ok(())
}

fn apply(state: &mut BTreeMap<String, u32>, request: &Request) {
    for (key, value) in &request.changes {
        match value {
            Some(value) => state.insert(key.clone(), *value),
            None => state.remove(key),
        };
    }
}

/// Every key is as acknowledged, or all of the unanswered request was applied.
fn compare(db: &Database, writer: &Writer, kill: usize) {
    let items = db.open_collection("items").unwrap();
    let read = |key: &String| items.get(key).unwrap().map(|item| item.document.caption.parse().unwrap());
    let differs = |state: &BTreeMap<String, u32>| {
        let keys = (0..KEYS).map(|key| format!("writer {} key {key}", writer.number));
        keys.map(|key| (read(&key), key)).find(|(found, key)| *found != state.get(key).copied())
    };
    let Some(lost) = differs(&writer.state) else { return };
    let mut applied = writer.state.clone();
    writer.unanswered.iter().for_each(|request| apply(&mut applied, request));
    if let Some(neither) = differs(&applied) {
        panic!("kill {kill}: {lost:?} is not as acknowledged, and {neither:?} not as sent last");
    }
}

fn open(db: &Path) -> Database {
    Database::open_with(db, Options { create: false, ..Options::default() }).unwrap()
}

#[test]
fn a_server_killed_under_load_loses_nothing_acknowledged() {
    let kills = if random::torture() { 200 } else { 20 };
    let (folder, mut random) = (tempfile::tempdir().unwrap(), Random::new(random::seed().unwrap_or(1)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer { number, ..Writer::default() }).collect();
    let (mut slowest_open, mut slowest_start) = (Duration::ZERO, Duration::ZERO);
    for kill in 0..kills {
        let begun = Instant::now();
        let server = Served::start(folder.path(), None, &[]);
        slowest_start = slowest_start.max(begun.elapsed());
        let channel = runtime.block_on(async {
            let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
            if kill == 0 {
                let new = v1::CreateCollectionRequest {
                    name: "items".into(),
                    dim: DIM as u32,
                    vectors_only: true,
                    ..Default::default()
                };
                CollectionServiceClient::new(channel.clone()).create_collection(new).await.unwrap();
            }
            channel
        });
        let writing: Vec<_> = std::mem::take(&mut writers)
            .into_iter()
            .map(|writer| runtime.spawn(writer.write(channel.clone(), random.next())))
            .collect();
        std::thread::sleep(Duration::from_millis(20 + random.below(500) as u64));
        drop(server);
        writers = writing.into_iter().map(|writing| runtime.block_on(writing).unwrap()).collect();

        let begun = Instant::now();
        let db = open(folder.path());
        slowest_open = slowest_open.max(begun.elapsed());
        writers.iter().for_each(|writer| compare(&db, writer, kill));
        let report = db.verify(&mut |_| {}).unwrap();
        assert!(report.is_clean(), "kill {kill}: {:?}", report.read.damages);
    }
    let (acknowledged, requests) =
        writers.iter().fold((0, 0), |(a, r), writer| (a + writer.acknowledged, r + u64::from(writer.sent)));
    println!(
        "{kills} kills, {requests} requests, {acknowledged} acknowledged changes, 0 lost; \
         slowest open {slowest_open:?}, slowest start of the server {slowest_start:?}"
    );
    assert!(requests > kills as u64 * WRITERS as u64, "only {requests} requests: the kills came too early");
}
