use simple_dns::ResourceRecord;
use simple_dns::rdata::{A, CNAME, SRV};

use super::*;

const NAME: &str = "guests.example";

fn record(owner: &'static str, ttl: u32, data: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(Name::new(owner).unwrap(), CLASS::IN, ttl, data)
}

fn a(owner: &'static str, ttl: u32, last: u8) -> ResourceRecord<'static> {
    record(owner, ttl, RData::A(A::from(Ipv4Addr::new(192, 0, 2, last))))
}

fn alias(owner: &'static str, to: &'static str) -> ResourceRecord<'static> {
    record(owner, 7, RData::CNAME(CNAME(Name::new(to).unwrap())))
}

fn answer(records: Vec<ResourceRecord<'static>>, change: impl Fn(&mut Packet<'_>)) -> Vec<u8> {
    let mut packet = Packet::new_reply(5);
    let name = Name::new(NAME).unwrap();
    packet
        .questions
        .push(Question::new(name, QTYPE::TYPE(TYPE::A), CLASS::IN.into(), false));
    packet.answers = records;
    change(&mut packet);
    packet.build_bytes_vec_compressed().unwrap()
}

fn found(bytes: &[u8]) -> Result<Records<IpAddr>, &'static str> {
    read(bytes, &Name::new(NAME).unwrap(), TYPE::A, address)
}

fn ips(last: &[u8]) -> Vec<IpAddr> {
    last.iter().map(|&l| Ipv4Addr::new(192, 0, 2, l).into()).collect()
}

#[test]
fn records_of_the_name_and_of_its_aliases_count_and_no_others() {
    let got = found(&answer(
        vec![a(NAME, 30, 1), a(NAME, 20, 2), a("other.example", 1, 3)],
        |_| {},
    ))
    .unwrap();
    assert_eq!((got.all, got.ttl_s), (ips(&[1, 2]), 20));
    let got = found(&answer(vec![alias(NAME, "b.example"), a("B.example", 20, 4)], |_| {})).unwrap();
    assert_eq!((got.all, got.ttl_s), (ips(&[4]), 7));
    let round = vec![alias(NAME, "b.example"), alias("b.example", NAME)];
    assert_eq!(found(&answer(round, |_| {})), Err("too many aliases"));
    let nobody = found(&answer(Vec::new(), |p| *p.rcode_mut() = RCODE::NameError)).unwrap();
    assert!(nobody.all.is_empty());
    let failed = answer(vec![a(NAME, 30, 1)], |p| *p.rcode_mut() = RCODE::ServerFailure);
    assert_eq!(found(&failed), Err("the name server reports an error"));
}

#[test]
fn only_the_answer_to_the_question_is_one() {
    let name = Name::new(NAME).unwrap();
    let good = answer(vec![a(NAME, 30, 1)], |_| {});
    assert_eq!(check(&good, 5, &name, TYPE::A), Check::Whole);
    assert_eq!(check(&good, 6, &name, TYPE::A), Check::Foreign, "another id");
    assert_eq!(check(&good, 5, &name, TYPE::AAAA), Check::Foreign, "another type");
    let other = Name::new("guest.example").unwrap();
    assert_eq!(check(&good, 5, &other, TYPE::A), Check::Foreign, "another name");
    let asked = query(5, &name, TYPE::A).unwrap();
    assert_eq!(check(&asked, 5, &name, TYPE::A), Check::Foreign, "a question");
    let cut = answer(Vec::new(), |p| p.set_flags(PacketFlag::TRUNCATION));
    assert_eq!(check(&cut, 5, &name, TYPE::A), Check::Cut);
}

#[test]
fn lengths_of_messages_are_bounded_and_no_byte_brings_it_down() {
    let good = answer(vec![a(NAME, 30, 1), alias("x.example", "y.example")], |_| {});
    let mut promises = good.clone();
    promises[6..8].copy_from_slice(&[0xff, 0xff]);
    assert!(parse(&good).is_some() && parse(&promises).is_none());
    for at in 0..good.len() {
        let _ = found(&good[..at]);
        for bit in 0..8 {
            let mut changed = good.clone();
            changed[at] ^= 1 << bit;
            let _ = found(&changed);
        }
    }
}

#[test]
fn hosts_of_a_service_have_names_and_ports() {
    let srv = |port, target: &'static str| {
        host(&RData::SRV(SRV {
            priority: 1,
            weight: 0,
            port,
            target: Name::new(target).unwrap(),
        }))
    };
    assert_eq!(srv(8443, "a.example").unwrap().name, "a.example");
    assert!(srv(0, "a.example").is_none() && srv(8443, "").is_none());
}

#[test]
fn ids_differ() {
    let ids: std::collections::BTreeSet<u16> = (0..64).map(|_| random_id()).collect();
    assert!(ids.len() > 48, "{ids:?}");
}
