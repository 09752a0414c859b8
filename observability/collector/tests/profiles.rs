//! Profiles, pushed as Pyroscope's clients do it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Answer, Collector, gzip};
use observastack_telemetry::pprof::{LabelPair, Profile, PushRequest, RawProfileSeries, RawSample};
use prost::Message as _;

/// main → work, as many nanoseconds as asked for.
fn pprof(nanoseconds: i64) -> Vec<u8> {
    // The messages' types are the library's own; their fields are pprof's.
    let mut profile = Profile {
        string_table: ["", "cpu", "nanoseconds", "main", "work"]
            .map(str::to_owned)
            .to_vec(),
        ..Profile::default()
    };
    profile.sample_type.resize_with(1, Default::default);
    profile.sample_type[0].kind = 1;
    profile.sample_type[0].unit = 2;
    for number in 0..2 {
        profile.function.resize_with(number + 1, Default::default);
        profile.function[number].id = number as u64 + 1;
        profile.function[number].name = number as i64 + 3;
        profile.location.resize_with(number + 1, Default::default);
        profile.location[number].id = number as u64 + 1;
        profile.location[number]
            .line
            .resize_with(1, Default::default);
        profile.location[number].line[0].function_id = number as u64 + 1;
    }
    profile.sample.resize_with(1, Default::default);
    profile.sample[0].location_id = vec![2, 1];
    profile.sample[0].value = vec![nanoseconds];
    gzip(&profile.encode_to_vec())
}

fn request(service: &str, raw_profiles: &[Vec<u8>]) -> PushRequest {
    let label = |name: &str, value: &str| LabelPair {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let sample = |raw_profile: &Vec<u8>| RawSample {
        raw_profile: raw_profile.clone(),
        id: "1".to_owned(),
    };
    PushRequest {
        series: vec![RawProfileSeries {
            labels: vec![
                label("__name__", "process_cpu"),
                label("service_name", service),
            ],
            samples: raw_profiles.iter().map(sample).collect(),
        }],
    }
}

async fn push(collector: &Collector, request: &PushRequest) -> Answer {
    let headers = [
        ("content-type", "application/proto"),
        ("content-encoding", "gzip"),
    ];
    let body = gzip(&request.encode_to_vec());
    collector
        .post("/push.v1.PusherService/Push", &headers, body)
        .await
}

#[tokio::test]
async fn profiles_of_a_range_become_one_flame_graph() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    for nanoseconds in [10, 20, 30] {
        let answer = push(&collector, &request("api", &[pprof(nanoseconds)])).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }
    assert_eq!(
        push(&collector, &request("gateway", &[pprof(1_000)]))
            .await
            .status,
        200
    );
    collector
        .until_counted("stored_items_total", "profiles", 4)
        .await;
    let graph = collector
        .query("/api/flamegraph?service=api&sample_type=cpu")
        .await
        .json();
    assert_eq!(
        (graph["profiles"].as_u64(), graph["unit"].as_str()),
        (Some(3), Some("nanoseconds"))
    );
    assert_eq!(graph["root"]["total"], 60);
    let work = &graph["root"]["children"][0]["children"][0];
    assert_eq!(
        (work["name"].as_str(), work["self"].as_u64()),
        (Some("work"), Some(60))
    );
    let other = collector
        .query("/api/flamegraph?service=api&kind=memory")
        .await
        .json();
    assert_eq!(other["profiles"], 0);
}

#[tokio::test]
async fn what_is_no_profile_is_refused_with_a_reason() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    let answer = push(&collector, &request("api", &[b"\x1f\x8bnot gzip".to_vec()])).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["code"], "invalid_argument");
    assert!(
        answer.json()["message"]
            .as_str()
            .unwrap()
            .contains("a profile of api")
    );
    // A profile that is smaller on the wire than the collector would ever unpack.
    let bomb = gzip(&vec![0_u8; 64 << 20]);
    assert_eq!(push(&collector, &request("api", &[bomb])).await.status, 400);
    // The good one of two is taken.
    assert_eq!(
        push(&collector, &request("api", &[vec![255; 9], pprof(1)]))
            .await
            .status,
        200
    );
    collector
        .until_counted("stored_items_total", "profiles", 1)
        .await;
    assert_eq!(
        collector.counted("rejected_items_total", "profiles").await,
        3
    );
}
