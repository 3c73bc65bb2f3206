//! Goal: a new generation takes the place of the old one without a search noticing or a write lost, and only when it is
//! sound. Method: pictures of plain colours through the fake model, whose work is counted; searches and writes beside it.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/jobs.rs"]
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{Cellar, cellar, png};
use fromagerie::{
    Change, Content, Database, IngestEvent, IngestJob, Item, JobSpec, JobState, NewCollection, Options, ReindexJob,
};
use fromagerie_models::FakeModel;
use fromagerie_storage::{Store, StoreOptions};
use serde_json::Value;
use work::{ingest_of, keys, pictures, run};

fn reindex(alias: &str) -> ReindexJob {
    ReindexJob { alias: alias.into(), ..ReindexJob::default() }
}

/// A cellar whose alias "photos" names 40 pictures with their features, and their folder.
fn with_alias() -> (Cellar, PathBuf) {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let source = pictures(cellar.folder.path(), 40);
    let input = ingest_of("", &[&source]).input;
    let first = ReindexJob { input, features: Some(true), ..reindex("photos") };
    let job = run(&cellar.db, JobSpec::Reindex(first)).unwrap();
    assert_eq!((job.collection.as_str(), job.checks.len()), ("photos.g1", 4), "{:?}", job.checks);
    (cellar, source)
}

fn new_model(cellar: &Cellar) -> (PathBuf, Arc<FakeModel>) {
    let (bundle, model) = (cellar.folder.path().join("new-bundle"), Arc::new(FakeModel::new().with_space("new")));
    cellar.db.add_model(&bundle, model.clone()).unwrap();
    (bundle, model)
}

#[test]
fn a_generation_takes_a_name_that_nobody_has() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let source = pictures(cellar.folder.path(), 5);
    let db = &cellar.db;
    // Made by hand, and named by the alias: it looks like a generation and is none.
    run(db, JobSpec::Ingest(ingest_of("photos.g1", &[&source]))).unwrap();
    db.set_alias("photos", "photos.g1").unwrap();
    db.set_alias("photos.g2", "photos.g1").unwrap();
    let job = run(db, JobSpec::Reindex(reindex("photos"))).unwrap();
    assert_eq!(job.collection, "photos.g3");
    assert_eq!(run(db, JobSpec::Reindex(reindex("photos"))).unwrap().collection, "photos.g4");
    assert_eq!(db.rollback("photos", Some("photos.g1")).unwrap(), "photos.g1");
}

#[test]
fn a_new_bundle_reads_pictures_or_maps_features_and_can_be_rolled_back() {
    let (cellar, source) = with_alias();
    let (bundle, model) = new_model(&cellar);
    let db = &cellar.db;
    let mapped = ReindexJob { bundle: Some(bundle), ..reindex("photos") };
    std::fs::rename(&source, source.with_extension("gone")).unwrap();
    let job = run(db, JobSpec::Reindex(mapped.clone())).unwrap();
    assert_eq!((job.collection.as_str(), model.counts().images_encoded), ("photos.g2", 0), "the pictures are gone");
    std::fs::rename(source.with_extension("gone"), &source).unwrap();

    let photos = db.open_collection("photos").unwrap();
    assert_ne!(photos.space(), db.open_collection("photos.g1").unwrap().space());
    let fresh = IngestJob { features: true, ..ingest_of("fresh", &[&source]) };
    run(db, JobSpec::Ingest(fresh)).unwrap();
    let fresh = db.open_collection("fresh").unwrap();
    for key in keys(&photos, 40) {
        let (mapped, made) = (photos.require(&key).unwrap(), fresh.require(&key).unwrap());
        assert!(mapped.vector.iter().zip(&made.vector).all(|(a, b)| (a - b).abs() < 1e-6), "{key}");
        assert_eq!((mapped.features, mapped.document), (made.features, made.document));
    }

    let plain = ReindexJob { features: Some(false), ..reindex("photos") };
    assert_eq!(run(db, JobSpec::Reindex(plain)).unwrap().collection, "photos.g3");
    let again = run(db, JobSpec::Reindex(mapped)).unwrap();
    assert_eq!((again.collection.as_str(), model.counts().images_encoded > 40), ("photos.g4", true), "no features");

    let generations = db.generations("photos").unwrap();
    let current: Vec<_> = generations.iter().filter(|g| g.is_current).map(|g| g.collection.as_str()).collect();
    assert_eq!((generations.len(), current), (4, vec!["photos.g4"]));
    assert_eq!(db.rollback("photos", None).unwrap(), "photos.g3");
    assert_eq!(db.rollback("photos", Some("photos.g1")).unwrap(), "photos.g1");
    assert_eq!(db.rollback("photos", Some("fresh")).unwrap_err().reason(), "NO_GENERATION");
    assert_eq!(db.drop_generation("photos", "photos.g1").unwrap_err().reason(), "HAS_ALIASES");
    db.drop_generation("photos", "photos.g4").unwrap();
    assert_eq!(db.open_collection("photos").unwrap().name(), "photos.g1");
    let error = db.start_job(JobSpec::Reindex(reindex("fresh"))).unwrap_err();
    assert_eq!(error.reason(), "NOT_AN_ALIAS");
}

/// Writes through the alias until told to stop, one key after the other, and says what each of its keys was left with: a
/// caption, or nothing. A write that was refused since the alias moved is made again.
fn write_through_alias(db: &Database, writer: usize, stop: &AtomicBool) -> BTreeMap<String, Option<String>> {
    let mut left = BTreeMap::new();
    let mut photos = db.open_collection("photos").unwrap();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (key, caption) = (format!("w{writer}-{}", n % 50), format!("{n}"));
        let deletes = n % 7 == 3;
        loop {
            let written = match n % 3 {
                _ if deletes => photos.delete([&key], None),
                0 if left.get(&key).is_some_and(Option::is_some) => photos.update(Change::of(&key).caption(&caption)),
                _ => photos.insert(Item::vector(&key, vec![n as f32 + 1.0; photos.dim()]).caption(&caption)),
            };
            match written {
                Ok(_) => break,
                Err(error) => assert_eq!(error.reason(), "HANDED_OVER", "{error}"),
            }
            photos = db.open_collection("photos").unwrap();
        }
        left.insert(key, (!deletes).then_some(caption));
    }
    left
}

#[test]
fn no_write_is_lost_while_a_generation_takes_the_place_of_another() {
    let (cellar, _source) = with_alias();
    let (db, stop) = (&cellar.db, AtomicBool::new(false));
    let left: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|n| {
                scope.spawn({
                    let stop = &stop;
                    move || write_through_alias(db, n, stop)
                })
            })
            .collect();
        let jobs: Vec<_> = (0..6).map(|_| run(db, JobSpec::Reindex(reindex("photos")))).collect();
        stop.store(true, Ordering::Relaxed);
        let left = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        jobs.into_iter().for_each(|job| assert_eq!(job.unwrap().state, JobState::Succeeded));
        left
    });
    let photos = db.open_collection("photos").unwrap();
    assert_eq!((photos.name(), left.len()), ("photos.g7", 150));
    for (key, caption) in &left {
        let found = photos.get(key).unwrap().map(|item| item.document.caption);
        assert_eq!(&found, caption, "{key}");
    }
    assert_eq!(photos.len(), 40 + left.iter().filter(|(_, caption)| caption.is_some()).count());
}

#[test]
fn a_swap_that_was_interrupted_undoes_nothing_that_came_after_it() {
    let (cellar, _source) = with_alias();
    let old = cellar.db.open_collection("photos").unwrap();
    let id = run(&cellar.db, JobSpec::Reindex(reindex("photos"))).unwrap().id;
    let error = old.insert(Item::vector("stale", vec![1.0; old.dim()])).unwrap_err();
    assert_eq!((error.reason(), error.kind()), ("HANDED_OVER", fromagerie::ErrorKind::Busy));
    let by_name = cellar.db.open_collection("photos.g1").unwrap();
    by_name.insert(Item::vector("by its own name", vec![1.0; old.dim()])).unwrap();
    let Cellar { db, model, folder } = cellar;
    drop((old, by_name, db));
    // As when the process ends between the alias's move and the job's end: the record still says that it swaps.
    let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    let mut record: Value = serde_json::from_slice(&store.job(&id).unwrap().unwrap()).unwrap();
    (record["state"], record["phase"]) = ("running".into(), "swap".into());
    store.put_job(&id, &serde_json::to_vec(&record).unwrap()).unwrap();
    drop(store);
    let db = Database::open_with_model(folder.path(), Options::default(), model).unwrap();
    let photos = db.open_collection("photos").unwrap();
    assert_eq!((photos.name(), db.interrupted_jobs().unwrap().len()), ("photos.g2", 1));
    photos.insert(Item::vector("late", vec![1.0; photos.dim()])).unwrap();
    photos.update(Change::of("0001.png").caption("late")).unwrap();
    photos.delete(["0002.png"], None).unwrap();
    assert_eq!(db.run_job(&id, &mut |_| {}).unwrap().state, JobState::Succeeded);
    assert!(photos.get("late").unwrap().is_some() && photos.get("0002.png").unwrap().is_none());
    assert_eq!(photos.require("0001.png").unwrap().document.caption, "late");
}

#[test]
fn an_alias_that_was_moved_meanwhile_stays_where_it_is() {
    let (cellar, _source) = with_alias();
    let db = &cellar.db;
    let other = db.create_collection("other", NewCollection::default()).unwrap();
    let job = db.start_job(JobSpec::Reindex(reindex("photos"))).unwrap();
    let mut moved = false;
    let error = db.run_job(&job.id, &mut |event| {
        if matches!(event, IngestEvent::Sealing) && !std::mem::replace(&mut moved, true) {
            db.set_alias("photos", other.name()).unwrap();
        }
    });
    let error = error.unwrap_err();
    assert_eq!(error.reason(), "GENERATION_REFUSED");
    assert!(error.to_string().contains("it names other now, which this job does not replace"), "{error}");
    assert_eq!(db.open_collection("photos").unwrap().name(), "other");
}

#[test]
fn searches_go_on_while_a_generation_takes_the_place_of_another() {
    let (cellar, _source) = with_alias();
    let (db, stop, searched) = (&cellar.db, AtomicBool::new(false), AtomicUsize::new(0));
    // Also when this thread panics, so that the others end.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        for thread in 0..3u8 {
            let (stop, searched) = (&stop, &searched);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let colour = png([thread * 80, 7, 100]);
                    let hits = db.open_collection("photos").unwrap().search(fromagerie::Query::image(colour), 5);
                    assert_eq!(hits.unwrap().len(), 5);
                    searched.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..5 {
            // Written while the new one is built: it is there too.
            let photos = db.open_collection("photos").unwrap();
            let started = db.start_job(JobSpec::Reindex(reindex("photos"))).unwrap();
            let mut late = Some(Item::image(format!("late-{round}"), png([round, 99, 1])));
            db.run_job(&started.id, &mut |event| {
                if let IngestEvent::Reached(_) = event
                    && let Some(item) = late.take()
                {
                    photos.insert(item).unwrap();
                    photos.delete([format!("{round:04}.png")], None).unwrap();
                }
            })
            .unwrap();
            let now = db.open_collection("photos").unwrap();
            assert!(now.get(&format!("late-{round}")).unwrap().is_some());
            assert_eq!((now.name(), now.len()), (format!("photos.g{}", round + 2).as_str(), 40));
            db.rollback("photos", None).unwrap();
            db.rollback("photos", Some(now.name())).unwrap();
        }
    });
    assert!(searched.load(Ordering::Relaxed) > 15);
}

#[test]
fn what_does_not_pass_leaves_the_alias_where_it_is() {
    let (cellar, source) = with_alias();
    let (db, (bundle, _)) = (&cellar.db, new_model(&cellar));
    std::fs::write(source.join("0003.png"), "broken").unwrap();
    let input = ingest_of("", &[&source]).input;
    let job = ReindexJob { bundle: Some(bundle), input, ..reindex("photos") };
    let error = run(db, JobSpec::Reindex(job.clone())).unwrap_err();
    assert_eq!(error.reason(), "GENERATION_REFUSED");
    assert!(error.to_string().contains("1 left out"), "{error}");
    assert_eq!(db.open_collection("photos").unwrap().name(), "photos.g1");
    let tolerant = run(db, JobSpec::Reindex(ReindexJob { failures_max: 1, ..job })).unwrap();
    assert_eq!((tolerant.collection.as_str(), tolerant.state), ("photos.g3", JobState::Succeeded));
}

#[test]
fn a_picture_that_was_read_is_not_read_again_while_writers_wait() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let (db, source) = (&cellar.db, pictures(cellar.folder.path(), 5));
    let first = ReindexJob { input: ingest_of("", &[&source]).input, ..reindex("photos") };
    run(db, JobSpec::Reindex(first)).unwrap();
    let (bundle, model) = new_model(&cellar);
    let job = db.start_job(JobSpec::Reindex(ReindexJob { bundle: Some(bundle), ..reindex("photos") })).unwrap();
    let done = db.run_job(&job.id, &mut |event| {
        if matches!(event, IngestEvent::Sealing) && source.exists() {
            std::fs::rename(&source, source.with_extension("gone")).unwrap();
            // So that there is something to look for.
            db.open_collection("photos").unwrap().update(Change::of("0003.png").caption("late")).unwrap();
        }
    });
    assert_eq!(done.unwrap().state, JobState::Succeeded);
    let photos = db.open_collection("photos").unwrap();
    assert_eq!((photos.name(), photos.len(), model.counts().images_encoded), ("photos.g2", 5, 5));
    let late = photos.require("0003.png").unwrap().document;
    assert_eq!((late.caption.as_str(), late.thumbnail.is_empty()), ("late", false));
}

#[test]
fn a_re_index_takes_no_other_picture_for_the_one_that_is_stored() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let source = pictures(cellar.folder.path(), 3);
    let first = ReindexJob { input: ingest_of("", &[&source]).input, ..reindex("photos") };
    run(&cellar.db, JobSpec::Reindex(first)).unwrap();
    let photos = cellar.db.open_collection("photos").unwrap();
    // Its URI still names the file of the picture that it had.
    photos.update(Change::of("0001.png").content(Content::Image(png([7, 77, 177])))).unwrap();
    let (bundle, _) = new_model(&cellar);
    let anew = || JobSpec::Reindex(ReindexJob { bundle: Some(bundle.clone()), ..reindex("photos") });
    let error = run(&cellar.db, anew()).unwrap_err();
    assert_eq!(error.reason(), "GENERATION_REFUSED", "{error}");
    let jobs = cellar.db.jobs().unwrap();
    let failed = jobs.iter().find(|job| job.state == JobState::Failed).unwrap();
    let report = std::fs::read_to_string(cellar.db.job_failures(&failed.id).unwrap()).unwrap();
    assert!(report.contains("0001.png is another picture now than the one that is stored"), "{report}");
    let file = source.join("0001.png");
    std::fs::write(&file, png([7, 77, 177])).unwrap();
    assert_eq!(run(&cellar.db, anew()).unwrap().progress.report.failed, 0);
    let (now, other) = (cellar.db.open_collection("photos").unwrap(), source.join("0002.png"));
    assert_eq!(now.require("0001.png").unwrap().document.uri, file.to_string_lossy());
    now.update(Change::of("0001.png").content(Content::File(other.clone()))).unwrap();
    assert_eq!(now.require("0001.png").unwrap().document.uri, other.to_string_lossy(), "a file brings its own");
}

#[test]
fn a_collection_of_vectors_is_re_indexed_with_another_index() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let new = NewCollection { dim: Some(2), vectors_only: true, ..NewCollection::default() };
    let rows = cellar.db.create_collection("rows", new).unwrap();
    rows.insert(Item::vector("east", vec![1.0, 0.0]).payload("n", 1)).unwrap();
    rows.insert(Item::vector("north", vec![0.0, 1.0])).unwrap();
    cellar.db.set_alias("live", "rows").unwrap();
    let job = ReindexJob { index: fromagerie::IndexKind::Flat, ..reindex("live") };
    run(&cellar.db, JobSpec::Reindex(job)).unwrap();
    let live = cellar.db.open_collection("live").unwrap();
    assert_eq!((live.name(), live.index()), ("live.g1", fromagerie::IndexKind::Flat));
    assert_eq!(live.require("east").unwrap(), rows.require("east").unwrap());
    assert_eq!(cellar.db.rollback("live", None).unwrap(), "rows");
}
