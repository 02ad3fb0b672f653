//! The appliance's own broker, asked as its admin.

use std::fs;
use std::net::SocketAddr;

use hanzo_attestation::name::KeyId;
use hanzo_image::Manifest;
use hanzo_kbs::{KbsIdentity, admin, load_admin_key};
use hanzo_pqc::sign::SigningKeys;
use hanzo_vault::KeyPolicy;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::appliance::Up;

pub struct Broker {
    at: SocketAddr,
    identity: KbsIdentity,
    admin: SigningKeys,
    runtime: Runtime,
}

impl Broker {
    pub fn of(up: &Up) -> Self {
        // The image says where its guest finds it; the guest's 10.0.2.2 is this machine.
        let port = Manifest::read(&up.at("image")).unwrap().recipe.kbs.unwrap().port();
        Self {
            at: SocketAddr::from(([127, 0, 0, 1], port)),
            identity: KbsIdentity::parse(&fs::read(up.at("kbs/identity.json")).unwrap()).unwrap(),
            admin: load_admin_key(&up.at("kbs/admin.key")).unwrap(),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    pub fn policy(&self, key: &str) -> KeyPolicy {
        let key = KeyId::new(key).unwrap();
        let detail = admin::get_policy(self.at, &self.identity, &self.admin, &key);
        self.runtime.block_on(detail).unwrap().policy
    }

    /// A stricter one: it counts at once.
    pub fn set_policy(&self, key: &str, policy: &KeyPolicy) {
        let key = KeyId::new(key).unwrap();
        let set = admin::set_policy(self.at, &self.identity, &self.admin, &key, 1, policy);
        assert_eq!(self.runtime.block_on(set).unwrap().proposal, None);
    }

    /// What it decided about `key` so far, in order.
    pub fn decisions(&self, key: &str) -> Vec<Value> {
        let lines = admin::audit_lines(self.at, &self.identity, &self.admin, 0);
        let lines = self.runtime.block_on(lines).unwrap();
        assert!(!lines.more);
        let lines = lines
            .lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let decided = |line: &Value| line["key_id"] == key && (line["action"] == "grant" || line["action"] == "refuse");
        lines.filter(decided).collect()
    }
}
