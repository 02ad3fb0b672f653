//! Guest, broker, proxy, client and engine are this very program, started again: the test acts only when its arguments name a
//! part.

#[test]
fn role() {
    hanzo_tests_adversary::role::play();
}
