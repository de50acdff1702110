//! The directory of all workers of one factory on this machine: their ids, the lock, and what is
//! forgotten when.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use acf_core::run::WorkerId;
use acf_core::runtime::{Pool, RuntimeError, WorkerState};
use jiff::{SignedDuration, Timestamp};

use super::record::{Record, WorkerDir};

/// How long another `acf` may hold the lock before this one gives up.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
const LOCK_POLL: Duration = Duration::from_millis(20);
/// How long an ended worker is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);
/// How many ended workers are remembered.
const REMEMBERED_AT_MOST: usize = 50;
/// Digits and letters that are not taken for each other.
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_LENGTH: usize = 8;

/// Holds the lock until it is dropped, or its process ends, however that happens.
pub(super) struct Locked {
    _file: File,
}

/// The workers of one factory.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    factory: PathBuf,
}

impl Registry {
    pub(super) fn new(factory: PathBuf) -> Self {
        Self { factory }
    }

    fn workers(&self) -> PathBuf {
        self.factory.join("workers")
    }

    /// Takes the lock under which workers are counted, started and told to stop.
    pub(super) async fn lock(&self) -> Result<Locked, RuntimeError> {
        let path = self.factory.join("lock");
        let cannot = |cause: io::Error| RuntimeError::Other {
            attempt: format!("cannot lock {}", path.display()),
            cause: cause.into(),
        };
        create_private(&self.factory).map_err(cannot)?;
        let file = File::options().create(true).append(true).open(&path).map_err(cannot)?;
        let taken = async {
            let mut tick = tokio::time::interval(LOCK_POLL);
            loop {
                tick.tick().await;
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
        };
        match tokio::time::timeout(LOCK_TIMEOUT, taken).await {
            Ok(Ok(())) => Ok(Locked { _file: file }),
            Ok(Err(error)) => Err(cannot(error)),
            Err(_) => Err(cannot(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("another acf has held it for {} s", LOCK_TIMEOUT.as_secs()),
            ))),
        }
    }

    /// Makes the directory of a new worker, under an id that no worker had before.
    pub(super) fn create(&self, pool: Pool) -> io::Result<(WorkerId, WorkerDir)> {
        create_private(&self.workers())?;
        let id = new_id(pool);
        let path = self.workers().join(id.as_str());
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok((id, WorkerDir::new(path)))
    }

    /// Returns the directory of the worker with exactly that id.
    pub(super) fn find(&self, id: &WorkerId) -> Result<(WorkerDir, Record), RuntimeError> {
        let no_such_worker = || RuntimeError::NoSuchWorker(id.clone());
        if !is_id(id.as_str()) {
            return Err(no_such_worker());
        }
        let dir = WorkerDir::new(self.workers().join(id.as_str()));
        let record = dir.record().ok_or_else(no_such_worker)?;
        Ok((dir, record))
    }

    /// Returns all workers that have a record, by start time; whatever else lies there is passed over.
    pub(super) fn all(&self) -> io::Result<Vec<(WorkerDir, Record)>> {
        let mut workers: Vec<_> =
            self.dirs()?.into_iter().filter_map(|dir| dir.record().map(|record| (dir, record))).collect();
        workers.sort_by(|(_, a), (_, b)| {
            (a.order.started_at, &a.order.id).cmp(&(b.order.started_at, &b.order.id))
        });
        Ok(workers)
    }

    fn dirs(&self) -> io::Result<Vec<WorkerDir>> {
        let entries = match fs::read_dir(self.workers()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut dirs = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_id) {
                dirs.push(WorkerDir::new(entry.path()));
            }
        }
        Ok(dirs)
    }

    /// Forgets workers that ended long ago, those beyond the last few, and starts that came to nothing.
    pub(super) fn prune(&self, now: Timestamp) -> io::Result<()> {
        let mut ended = Vec::new();
        for dir in self.dirs()? {
            let has_ended =
                dir.record().is_none_or(|record| matches!(dir.state(&record), WorkerState::Ended { .. }));
            // One without a record may just be about to get it; a day later it is not.
            let counts = dir.record().is_some();
            if has_ended {
                ended.push((dir.ended_at().unwrap_or(now), counts, dir));
            }
        }
        ended.sort_by_key(|(ended_at, _, _)| std::cmp::Reverse(*ended_at));
        let mut remembered = 0;
        for (ended_at, counts, dir) in ended {
            remembered += usize::from(counts);
            if now.duration_since(ended_at) > REMEMBERED || (counts && remembered > REMEMBERED_AT_MOST) {
                fs::remove_dir_all(dir.path())?;
            }
        }
        Ok(())
    }
}

fn create_private(dir: &std::path::Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Makes an id of 40 random bits: short enough to be typed, and never the same twice.
fn new_id(pool: Pool) -> WorkerId {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    let letters = bytes.iter().map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)]));
    // The middle bytes of a random UUID hold its version.
    let random: String = letters
        .take(4)
        .chain(bytes[12..].iter().map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)])))
        .collect();
    let prefix = match pool {
        Pool::Workers => 'w',
        Pool::Planners => 'p',
    };
    WorkerId::new(format!("{prefix}-{random}"))
}

/// Tells whether a text is a worker's id, and so a safe file name.
fn is_id(text: &str) -> bool {
    let random = text.strip_prefix("w-").or_else(|| text.strip_prefix("p-"));
    random.is_some_and(|random| {
        random.len() == ID_LENGTH && random.bytes().all(|byte| ID_ALPHABET.contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use acf_core::runtime::WorkerSpec;

    use super::super::record::Order;
    use super::*;
    use acf_worker::process::Identity;

    fn registry() -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path().join("acf/shop"));
        (dir, registry)
    }

    fn running(registry: &Registry, started_at: i64) -> (WorkerId, WorkerDir) {
        let (id, dir) = registry.create(Pool::Workers).unwrap();
        let started_at = Timestamp::from_second(started_at).unwrap();
        let order = Order::new(id.clone(), &WorkerSpec::of(Pool::Workers), started_at);
        let this_process = Identity::of(std::process::id()).unwrap();
        dir.write_record(&Record { order, worker: this_process.clone(), keeper: this_process }).unwrap();
        (id, dir)
    }

    fn ids(registry: &Registry) -> BTreeSet<WorkerId> {
        registry.all().unwrap().into_iter().map(|(_, record)| record.order.id).collect()
    }

    #[test]
    fn ids_tell_their_pool_and_are_safe_names() {
        let ids: BTreeSet<_> = (0..1000).map(|_| new_id(Pool::Workers)).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| is_id(id.as_str()) && id.as_str().starts_with("w-")));
        assert!(new_id(Pool::Planners).as_str().starts_with("p-"));
        for text in ["", "w-", "w-..", "../../x", "w-0000000", "w-000000000", "w-0000000/", "w-0000000O"] {
            assert!(!is_id(text), "{text}");
        }
    }

    #[test]
    fn workers_are_listed_by_their_start_and_strangers_passed_over() {
        let (_dir, registry) = registry();
        assert_eq!(registry.all().unwrap().len(), 0);
        let (young, _) = running(&registry, 2);
        let (old, _) = running(&registry, 1);
        fs::write(registry.workers().join("notes.txt"), "x").unwrap();
        fs::create_dir(registry.workers().join("w-lost")).unwrap();
        fs::create_dir(registry.workers().join("w-00000000")).unwrap();
        fs::create_dir(registry.workers().join("w-00000001")).unwrap();
        fs::write(registry.workers().join("w-00000001/worker.json"), "{\"order\":").unwrap();
        let listed: Vec<_> = registry.all().unwrap().into_iter().map(|(_, record)| record.order.id).collect();
        assert_eq!(listed, [old, young]);
    }

    #[test]
    fn what_ended_long_ago_is_forgotten_and_what_runs_never() {
        let (_dir, registry) = registry();
        let (runs, _) = running(&registry, 0);
        let (_, ended) = running(&registry, 0);
        ended.write_exit(0).unwrap();
        fs::create_dir(registry.workers().join("w-00000000")).unwrap();
        let now = Timestamp::now();
        registry.prune(now + SignedDuration::from_hours(23)).unwrap();
        assert_eq!(registry.dirs().unwrap().len(), 3);
        registry.prune(now + SignedDuration::from_hours(25)).unwrap();
        assert_eq!(registry.dirs().unwrap().len(), 1);
        assert_eq!(ids(&registry), BTreeSet::from([runs]));
    }

    #[test]
    fn only_the_last_fifty_of_many_ended_workers_are_remembered() {
        let (_dir, registry) = registry();
        for _ in 0..REMEMBERED_AT_MOST + 3 {
            running(&registry, 0).1.write_exit(0).unwrap();
        }
        let (runs, _) = running(&registry, 0);
        registry.prune(Timestamp::now()).unwrap();
        let left = ids(&registry);
        assert_eq!(left.len(), REMEMBERED_AT_MOST + 1);
        assert!(left.contains(&runs));
    }

    #[tokio::test(start_paused = true)]
    async fn the_lock_is_held_by_one_and_given_up_on_after_a_while() {
        let (_dir, registry) = registry();
        let held = registry.lock().await.unwrap();
        let refused = registry.lock().await.err().unwrap();
        assert!(refused.to_string().starts_with("cannot lock"), "{refused}");
        drop(held);
        registry.lock().await.unwrap();
    }
}
