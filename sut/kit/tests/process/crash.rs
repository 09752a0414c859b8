//! kill -9 at any moment: the service comes back with the last configuration it said yes to.

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::json;

use super::parent::Parent;
use super::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "a_killed_service_comes_back_with_its_last_configuration",
            comes_back,
        ),
        trial(
            "a_service_killed_while_it_writes_loses_nothing_it_confirmed",
            killed_while_writing,
        ),
    ]
}

async fn comes_back() {
    let parent = Parent::new();
    let service = parent.start();
    assert_eq!(parent.patch(&json!({"counter": 41})).await.status, 200);
    assert_eq!(parent.patch(&json!({"counter": 42})).await.status, 200);
    let before = parent.config().await;
    service.kill();
    assert!(
        parent.path().join("admin.sock").exists(),
        "a killed service cannot remove its socket"
    );

    let _service = parent.start();
    assert_eq!(parent.config().await, before);
    assert_eq!(before["version"], 3);
}

async fn killed_while_writing() {
    let parent = Parent::new();
    let padding = "x".repeat(30_000);
    let mut confirmed = 0;
    for round in 0..12_u64 {
        let service = parent.start();
        let found = parent.config().await["config"]["counter"].as_u64().unwrap();
        // One more than confirmed: written, but killed before it could answer.
        assert!(
            (confirmed..=confirmed + 1).contains(&found),
            "{found} is there, {confirmed} was confirmed"
        );
        confirmed = found;
        let mut admin = parent.admin().await;
        let enough = confirmed + 2;
        let (go, wait) = std::sync::mpsc::channel();
        let killer = std::thread::spawn(move || {
            wait.recv().unwrap();
            // Another point of the write in each round.
            std::thread::sleep(Duration::from_micros(round * 250));
            service.kill();
        });
        loop {
            let patch = json!({"counter": confirmed + 1, "padding": padding}).to_string();
            let request = format!(
                "PATCH /config HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{patch}",
                patch.len()
            );
            match admin.try_exchange(&request).await {
                Ok(answer) => {
                    assert_eq!(answer.status, 200, "{answer:?}");
                    confirmed += 1;
                    if confirmed == enough {
                        go.send(()).unwrap();
                    }
                }
                Err(_) => break,
            }
        }
        killer.join().unwrap();
    }
}
