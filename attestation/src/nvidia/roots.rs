//! NVIDIA's device identity root, compiled in. Nothing else makes device evidence that is not simulated.

use crate::pinned::decode;

/// CN NVIDIA Device Identity CA, O NVIDIA, serial 2d3670b1ca100411c1fec0e82a065b54, 2021-11-05 to 9999-12-31. Source:
/// NVIDIA Device Identity Service; the same certificate ends the chain that every GPU and switch hands out.
/// SHA-256 [`DEVICE_ROOT_SHA256`], over the DER bytes; a test recomputes it.
pub const DEVICE_ROOT: [u8; 527] = decode(
    "\
    MIICCzCCAZCgAwIBAgIQLTZwscoQBBHB/sDoKgZbVDAKBggqhkjOPQQDAzA1MSIwIAYDVQQDDBlOVklESUEgRGV2aWNlIElkZW50aXR5IENBMQ8w\
    DQYDVQQKDAZOVklESUEwIBcNMjExMTA1MDAwMDAwWhgPOTk5OTEyMzEyMzU5NTlaMDUxIjAgBgNVBAMMGU5WSURJQSBEZXZpY2UgSWRlbnRpdHkg\
    Q0ExDzANBgNVBAoMBk5WSURJQTB2MBAGByqGSM49AgEGBSuBBAAiA2IABA5MFKM7+KViZljbQSlgfky/RRnEQScW9NDZF8SXgAW96r6u/Ve8Zggt\
    cYpPi2BS4VFu6KfEIrhN6FcHG7WP05W+oM+hxj7nyA1r1jkB2Ry70YfThX3Ba1zOryOP+MJ9vaNjMGEwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8B\
    Af8EBAMCAQYwHQYDVR0OBBYEFFeF/4PyY8xlfWi3Olv0jUrL+0lfMB8GA1UdIwQYMBaAFFeF/4PyY8xlfWi3Olv0jUrL+0lfMAoGCCqGSM49BAMD\
    A2kAMGYCMQCPeFM3TASsKQVaT+8S0sO9u97PVGCpE9d/I42IT7k3UUOLSR/qvJynVOD1vQKVXf0CMQC+EY55WYoDBvs2wPAH1Gw4LbcwUN8QCff8\
    bFmV4ZxjCRr4WXTLFHBKjbfneGSBWwA=\
    ",
);

/// SHA-256 of [`DEVICE_ROOT`].
pub const DEVICE_ROOT_SHA256: &str = "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48";

#[cfg(test)]
mod tests {
    use super::super::certificate::Certificate;
    use super::super::chain::Level;
    use super::*;

    #[test]
    fn the_pinned_root_has_the_digest_written_beside_it_and_signs_itself() {
        assert_eq!(crate::Digest256::of(&DEVICE_ROOT).to_string(), DEVICE_ROOT_SHA256);
        let root = Certificate::parse(Level::Root, &DEVICE_ROOT).unwrap();
        root.verify_issued_by(&root).unwrap();
        assert_eq!(root.common_name(), "NVIDIA Device Identity CA");
    }
}
