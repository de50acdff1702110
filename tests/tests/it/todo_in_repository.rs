//! A TODO file in the target repository, changed by many workers of one machine.

use std::sync::Arc;

use acf_tests::claims::Machine;
use acf_tests::sandbox::{MAIN, Sandbox};
use acf_trackers::todo::TodoFile as _;
use acf_worker::clock::SystemClock;
use acf_worker::git::checkout::Author;
use acf_worker::git::todo_file::RepositoryFile;
use futures_util::future::join_all;

#[tokio::test]
async fn workers_of_one_machine_lose_no_races_for_the_trunk_to_each_other() {
    let sandbox = Sandbox::builder().todo_in_repository("").build();
    let workers = join_all((0..6).map(|_| Machine::on(&sandbox, "machine").open())).await;
    let changes = workers.iter().map(async |worker| {
        let author = Author { name: "acf".into(), email: "acf@localhost".into() };
        let clock = Arc::new(SystemClock::default());
        let file = RepositoryFile::new(worker.mirror.clone(), clock, MAIN, "TODO.md", author);
        let mut add_line = |text: &[u8]| Ok(Some([text, b"- [ ] one more\n"].concat()));
        for _ in 0..3 {
            file.update("one more", &mut add_line).await.unwrap();
        }
        worker.mirror.git().counts().pushes()
    });

    let pushes = join_all(changes).await;

    assert_eq!(pushes, [3; 6]);
    assert_eq!(sandbox.file_at(MAIN, "TODO.md").unwrap().lines().count(), 18);
}
