//! Goal: steps meet, nobody waits longer than agreed, nobody starves, and one member's end is not another's.
//!
//! Method: jobs are numbers, a pass doubles them; passes are held up by barriers where an order must be certain.

use std::sync::{Barrier, mpsc};

use super::*;

type Doubling = Scheduler<u64, u64>;

fn options(rows_max: usize, wait_ms: u64) -> BatchOptions {
    BatchOptions { wait: Duration::from_millis(wait_ms), rows_max, ..BatchOptions::default() }
}

fn double(jobs: Vec<u64>) -> Vec<u64> {
    jobs.into_iter().map(|job| 2 * job).collect()
}

/// Runs a pass of `member` alone and does not let it end before `others` wait behind it.
fn behind_one_pass(scheduler: &Doubling, others: usize) {
    scheduler
        .submit(1000, 0, |jobs| {
            while scheduler.state.lock().waiting.len() < others {
                std::thread::yield_now();
            }
            double(jobs)
        })
        .unwrap();
    scheduler.leave(1000);
}

#[test]
fn each_gets_its_own_answer_and_steps_meet() {
    let scheduler = Doubling::new(options(8, 3_600_000));
    std::thread::scope(|scope| {
        scope.spawn(|| behind_one_pass(&scheduler, 6));
        while !scheduler.state.lock().is_led {
            std::thread::yield_now();
        }
        for member in 0..6 {
            let scheduler = &scheduler;
            scope.spawn(move || {
                for step in 0..50 {
                    assert_eq!(scheduler.submit(member, 100 * member + step, double), Ok(200 * member + 2 * step));
                }
                scheduler.leave(member);
            });
        }
    });
    let stats = scheduler.stats();
    assert_eq!(stats.steps(), 301);
    // All six are there from the first pass on, and wait for each other as long as all have steps left.
    assert_eq!(stats.passes[5], 50, "{stats:?}");
}

#[test]
fn one_that_is_alone_never_waits() {
    let scheduler = Doubling::new(options(8, 3_600_000));
    for step in 0..1000 {
        scheduler.submit(7, step, double).unwrap();
    }
    assert_eq!(scheduler.stats().passes, [1000]);
}

#[test]
fn who_does_not_come_back_is_waited_for_once_and_who_leaves_not_at_all() {
    let scheduler = Doubling::new(options(8, 40));
    let both = || {
        std::thread::scope(|scope| {
            scope.spawn(|| behind_one_pass(&scheduler, 2));
            while !scheduler.state.lock().is_led {
                std::thread::yield_now();
            }
            scope.spawn(|| scheduler.submit(1, 1, double).unwrap());
            scope.spawn(|| scheduler.submit(2, 2, double).unwrap());
        });
        assert_eq!(scheduler.state.lock().expected.len(), 2);
    };
    both();
    let begun = Instant::now();
    scheduler.submit(1, 3, double).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(40), "it waits for the other");
    assert_eq!(scheduler.state.lock().expected, HashSet::from([1]), "and not again");

    scheduler.leave(1);
    both();
    let patient = Doubling { options: options(8, 3_600_000), ..scheduler };
    patient.leave(2);
    patient.submit(1, 4, double).unwrap();
}

#[test]
fn a_leader_stops_waiting_when_the_one_it_waits_for_leaves() {
    let scheduler = Doubling::new(options(8, 3_600_000));
    scheduler.state.lock().expected = HashSet::from([2]);
    std::thread::scope(|scope| {
        let one = scope.spawn(|| scheduler.submit(1, 21, double));
        while !scheduler.state.lock().is_led {
            std::thread::yield_now();
        }
        scheduler.leave(2);
        assert_eq!(one.join().unwrap(), Ok(42));
    });
}

#[test]
fn more_members_than_places_are_all_served() {
    let scheduler = Doubling::new(options(2, 1));
    std::thread::scope(|scope| {
        for member in 0..7 {
            let scheduler = &scheduler;
            scope.spawn(move || {
                for step in 0..200 {
                    let run = |jobs: Vec<u64>| {
                        assert!(jobs.len() <= 2);
                        double(jobs)
                    };
                    assert_eq!(scheduler.submit(member, step, run), Ok(2 * step));
                }
                scheduler.leave(member);
            });
        }
    });
    assert_eq!(scheduler.stats().steps(), 1400);
}

#[test]
fn places_go_to_who_has_waited_longest_once_a_group_had_its_passes() {
    let mut state = Doubling::new(options(2, 1)).state.into_inner();
    let members = 7;
    let mut last_pass = vec![0; members];
    for member in 0..members as u64 {
        state.enter(member, member);
    }
    for pass in 1..=1000 {
        // Everyone comes back at once.
        for member in state.take(2).1 {
            let waited = pass - std::mem::replace(&mut last_pass[member as usize], pass);
            assert!(waited <= members as u32 * PASSES_IN_A_ROW / 2, "{member} waited for {waited} passes");
            state.enter(member, member);
        }
    }
    assert!(last_pass.iter().all(|pass| *pass > 900), "{last_pass:?}");
}

#[test]
fn a_pass_that_panics_ends_one_thread_and_the_others_are_told() {
    let scheduler = Doubling::new(options(8, 3_600_000));
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| {
            scheduler.submit(1, 1, |jobs| {
                assert_eq!(jobs.len(), 1);
                barrier.wait();
                while scheduler.state.lock().waiting.len() < 2 {
                    std::thread::yield_now();
                }
                double(jobs)
            })
        });
        barrier.wait();
        let (send, panicked) = mpsc::channel();
        for member in [2, 3] {
            let (scheduler, send) = (&scheduler, send.clone());
            scope.spawn(move || {
                let run = |_: Vec<u64>| -> Vec<u64> { panic!("a pass for the test to lose") };
                let answer =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scheduler.submit(member, 9, run)));
                send.send((answer.is_err(), answer.unwrap_or(Err(Abandoned)))).unwrap();
            });
        }
        assert_eq!(leader.join().unwrap(), Ok(2));
        scheduler.leave(1);
        let ends = [panicked.recv().unwrap(), panicked.recv().unwrap()];
        assert_eq!(ends.iter().filter(|(panicked, _)| *panicked).count(), 1, "{ends:?}");
        assert!(ends.iter().all(|(_, answer)| *answer == Err(Abandoned)));
    });
    scheduler.leave(2);
    scheduler.leave(3);
    assert_eq!(scheduler.submit(4, 5, double), Ok(10), "the next one is served");
}
