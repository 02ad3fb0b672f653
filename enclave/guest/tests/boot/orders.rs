//! Orders of an administrator whom the measured configuration names.

use hanzo_attestation::name::Name;
use hanzo_pqc::sign::{SEED_LEN, SignatureSuite, SigningKeys};
use hanzo_verifier::order::{Action, Order, OrderPurpose};
use hyper::StatusCode;

use crate::client::connect;
use crate::world::{Running, World};

fn administrator() -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[11; SEED_LEN]).unwrap()
}

fn unload(guest: &Running, model: &str, sequence: u64) -> String {
    let model = Name::new(model).unwrap();
    signed(guest, Action::UnloadModel { model }, sequence)
}

fn put_out(guest: &Running, until: u64, sequence: u64) -> String {
    let model = Name::new("tiny").unwrap();
    signed(guest, Action::PutOut { model, until }, sequence)
}

fn load(guest: &Running, sequence: u64) -> String {
    let model = Name::new("tiny").unwrap();
    signed(guest, Action::Load { model }, sequence)
}

fn signed(guest: &Running, action: Action, sequence: u64) -> String {
    let order = Order {
        action,
        issued_at: guest.ready.keyset.issued_at,
        keyset_digest: guest.ready.keyset_digest,
        nonce: "0a".repeat(32),
        operator: Name::new("example").unwrap(),
        purpose: OrderPurpose::V1,
        sequence,
    };
    let signed = order.sign(|domain, bytes| administrator().sign(domain, bytes)).unwrap();
    String::from_utf8(signed.to_bytes().unwrap()).unwrap()
}

async fn post(guest: &Running, path: &str, body: String) -> StatusCode {
    let mut connection = connect(&guest.ready.address).await;
    connection.prove(&guest.ready.keyset).await.unwrap();
    connection.post(path, body).await.0
}

async fn ask(guest: &Running, model: &str) -> StatusCode {
    let question = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Capital of France?"}}]}}"#);
    post(guest, "/v1/chat/completions", question).await
}

/// Processes whose arguments name a file of this world: its engines and their launchers.
pub fn engines(world: &World) -> usize {
    let mark = world.dir.path().display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|arguments| String::from_utf8_lossy(arguments).contains(&mark))
        .count()
}

/// Returns once an engine of this world works on a request that says `wait`.
pub async fn engine_waits(world: &World) {
    let mark = world.dir.path().display().to_string();
    for _ in 0..2000 {
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let ours = processes.filter(|entry| {
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&arguments).contains(&mark)
        });
        let threads = ours.filter_map(|entry| std::fs::read_dir(entry.path().join("task")).ok());
        let mut names = threads
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        if names.any(|name| name.trim() == "waiting") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no engine waits");
}

pub async fn engines_become(world: &World, expected: usize) {
    for _ in 0..800 {
        if engines(world) == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{} processes of engines, expected {expected}", engines(world));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unloaded_model_gives_its_memory_back_and_stays_unloaded_while_the_other_answers() {
    let mut world = World::new().await;
    let packs = &world.options.packs;
    std::fs::copy(packs.join("tiny.pack"), packs.join("second.pack")).unwrap();
    let root = world.model_subject();
    let public = administrator().verifying_keys().clone();
    let more = format!(
        "[[models]]\nname = \"second\"\nweights_root = \"{root}\"\nkey_id = \"{}\"\ncontext_tokens = 256\n\
         [[admin_keys]]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{}\"\ned25519 = \"{}\"\n[limits]",
        crate::world::MODEL_KEY,
        public.ml_dsa_hex(),
        public.ed25519_hex()
    );
    world.configure(world.config.replace("[limits]", &more));
    let guest = world.boot().await;
    let both = engines(&world);
    assert!(both >= 2 && both.is_multiple_of(2), "{both}");
    assert_eq!(ask(&guest, "second").await, StatusCode::OK);
    let elsewhere = unload(&guest, "second", 1).replace("\"sequence\":1", "\"sequence\":2");
    assert_eq!(post(&guest, "/v1/orders", elsewhere).await, StatusCode::BAD_REQUEST);
    assert_eq!(engines(&world), both);

    let order = unload(&guest, "second", 1);
    assert_eq!(post(&guest, "/v1/orders", order.clone()).await, StatusCode::OK);
    engines_become(&world, both / 2).await;
    assert_eq!(ask(&guest, "second").await, StatusCode::NOT_FOUND);
    assert_eq!(ask(&guest, "tiny").await, StatusCode::OK);
    assert_eq!(post(&guest, "/v1/orders", order.clone()).await, StatusCode::CONFLICT);
    guest.stop().await.unwrap();

    let guest = world.boot().await;
    engines_become(&world, both / 2).await;
    assert_eq!(ask(&guest, "second").await, StatusCode::NOT_FOUND);
    assert_eq!(ask(&guest, "tiny").await, StatusCode::OK);
    // It was for the keyset of the boot before.
    assert_eq!(post(&guest, "/v1/orders", order).await, StatusCode::BAD_REQUEST);
    // Of a guest without any model receipts can still be had.
    assert_eq!(
        post(&guest, "/v1/orders", unload(&guest, "tiny", 2)).await,
        StatusCode::OK
    );
    engines_become(&world, 0).await;
    assert_eq!(ask(&guest, "tiny").await, StatusCode::NOT_FOUND);
    guest.stop().await.unwrap();
    world.assert_nothing_left();
}

/// The configuration with an administrator's key.
fn administered(world: &mut World) {
    let public = administrator().verifying_keys().clone();
    let key = format!(
        "[[admin_keys]]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{}\"\ned25519 = \"{}\"\n[limits]",
        public.ml_dsa_hex(),
        public.ed25519_hex()
    );
    world.configure(world.config.replace("[limits]", &key));
}

/// Asks until it is answered; an engine that starts refuses meanwhile.
async fn answers(guest: &Running) {
    for _ in 0..800 {
        match ask(guest, "tiny").await {
            StatusCode::OK => return,
            StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(std::time::Duration::from_millis(25)).await,
            other => panic!("{other}"),
        }
    }
    panic!("never answered again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_put_out_gives_its_memory_back_until_it_is_loaded_or_its_time_is_over() {
    let mut world = World::new().await;
    administered(&mut world);
    let guest = world.boot().await;
    let booted = std::time::Instant::now();
    let running = engines(&world);
    assert!(running > 0);
    let order = async |document: String| post(&guest, "/v1/orders", document).await;
    assert_eq!(order(put_out(&guest, 0, 1)).await, StatusCode::OK);
    engines_become(&world, 0).await;
    assert_eq!(ask(&guest, "tiny").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(order(load(&guest, 2)).await, StatusCode::OK);
    engines_become(&world, running).await;
    answers(&guest).await;
    // For a while; a slow machine may bring the order after its time, and gets a longer one.
    let mut sequence = 3;
    for seconds in [2, 8, 32] {
        let until = guest.ready.keyset.issued_at + booted.elapsed().as_secs() + seconds;
        sequence += 1;
        if order(put_out(&guest, until, sequence)).await == StatusCode::OK {
            break;
        }
        assert!(seconds < 32, "refused");
    }
    engines_become(&world, running).await;
    answers(&guest).await;
    // The next boot finds it in the log.
    assert_eq!(order(put_out(&guest, 0, 9)).await, StatusCode::OK);
    engines_become(&world, 0).await;
    guest.stop().await.unwrap();
    let guest = world.boot().await;
    engines_become(&world, 0).await;
    assert_eq!(ask(&guest, "tiny").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(post(&guest, "/v1/orders", load(&guest, 9)).await, StatusCode::CONFLICT);
    assert_eq!(post(&guest, "/v1/orders", load(&guest, 10)).await, StatusCode::OK);
    answers(&guest).await;
    guest.stop().await.unwrap();
    world.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_on_demand_starts_by_an_order_before_anybody_asks_it() {
    let mut world = World::new().await;
    administered(&mut world);
    let on_demand = "context_tokens = 256\non_demand = { idle_s = 600 }";
    world.configure(world.config.replace("context_tokens = 256", on_demand));
    let guest = world.boot().await;
    let order = async |document: String| post(&guest, "/v1/orders", document).await;
    assert_eq!(engines(&world), 0);
    assert_eq!(order(load(&guest, 1)).await, StatusCode::OK);
    for _ in 0..800 {
        if engines(&world) > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert!(engines(&world) > 0);
    answers(&guest).await;
    assert_eq!(order(put_out(&guest, 0, 2)).await, StatusCode::OK);
    engines_become(&world, 0).await;
    assert_eq!(ask(&guest, "tiny").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(engines(&world), 0, "asking starts nothing that is put out");
    assert_eq!(order(load(&guest, 3)).await, StatusCode::OK);
    answers(&guest).await;
    guest.stop().await.unwrap();
    world.assert_nothing_left();
}
