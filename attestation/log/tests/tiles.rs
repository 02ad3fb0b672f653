//! Tiles: paths have one spelling, bundles hold what they say.

use hanzo_log::tile::{self, Kind, Tile, TileWriter, decode_entries, decode_hashes, encode_entry};
use hanzo_log::{Frontier, tree};
use proptest::prelude::*;

#[test]
fn paths_are_those_of_c2sp_tlog_tiles() {
    let tile = Tile {
        kind: Kind::Hashes { level: 0 },
        index: 1_234_067,
        width: 256,
    };
    assert_eq!(tile.to_string(), "tile/0/x001/x234/067");
    let partial = Tile {
        kind: Kind::Entries,
        index: 273,
        width: 112,
    };
    assert_eq!(partial.to_string(), "tile/entries/273.p/112");
    for path in ["tile/0/000", "tile/6/x001/000.p/255", "tile/entries/x999/999"] {
        assert_eq!(Tile::parse(path).unwrap().to_string(), path);
    }
    for bad in [
        "tile/0/0",
        "tile/00/000",
        "tile/7/000",
        "tile/0/001/000",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000/",
        "tile/0/../000",
        "/tile/0/000",
        "tile/data/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/+01",
        "tile/0/",
        "",
    ] {
        assert_eq!(Tile::parse(bad).unwrap_err().code(), "log.tile.path", "{bad}");
    }
}

/// The example of the specification.
#[test]
fn a_tree_of_70000_has_the_tiles_that_the_specification_counts() {
    let count = |kind, full: bool| {
        tile::of_level(kind, 70_000)
            .filter(|t| (t.width == 256) == full)
            .count()
    };
    let level = |level| Kind::Hashes { level };
    assert_eq!((count(level(0), true), count(level(0), false)), (273, 1));
    assert_eq!((count(level(1), true), count(level(1), false)), (1, 1));
    assert_eq!((count(level(2), true), count(level(2), false)), (0, 1));
    assert_eq!(tile::of_level(level(3), 70_000).count(), 0);
    let widths: Vec<_> = tile::all(70_000).filter(|t| t.width < 256).map(|t| t.width).collect();
    assert_eq!(widths, [112, 17, 1, 112]);
    assert_eq!(tile::all(0).count(), 0);
    for tile in tile::all(70_000) {
        assert!(tile.exists_in(70_000));
        assert_eq!(Tile::parse(&tile.to_string()), Ok(tile));
    }
    let wider = Tile {
        width: 113,
        ..Tile::parse("tile/0/273.p/112").unwrap()
    };
    assert!(!wider.exists_in(70_000));
}

#[test]
fn bundles_and_hash_tiles_hold_what_their_path_says() {
    let mut bundle = Vec::new();
    for entry in [&b"first"[..], b"", b"third"] {
        encode_entry(&mut bundle, entry).unwrap();
    }
    assert_eq!(decode_entries(&bundle, 3).unwrap(), [&b"first"[..], b"", b"third"]);
    for (bytes, width) in [
        (&bundle[..], 2),
        (&bundle[..], 4),
        (&bundle[..bundle.len() - 1], 3),
        (&[][..], 1),
    ] {
        assert_eq!(decode_entries(bytes, width).unwrap_err().code(), "log.tile.malformed");
    }
    assert_eq!(
        encode_entry(&mut bundle, &vec![0; 65_536]).unwrap_err().code(),
        "log.entry.too_long"
    );
    assert_eq!(decode_hashes(&[1; 64], 2).unwrap().len(), 2);
    for (len, width) in [(63, 2), (64, 1), (96, 2), (0, 1)] {
        assert_eq!(
            decode_hashes(&vec![1; len], width).unwrap_err().code(),
            "log.tile.malformed"
        );
    }
}

#[test]
fn a_growing_log_is_cut_into_the_tiles_that_its_size_calls_for() {
    for size in [1_u64, 255, 256, 257, 70_000] {
        let (mut frontier, mut writer, mut tiles) = (Frontier::default(), TileWriter::default(), Vec::new());
        for n in 0..size {
            let entry = n.to_be_bytes();
            let completed = frontier.push(tree::leaf_hash(&[&entry])).unwrap();
            tiles.extend(writer.push(&entry, &completed).unwrap());
        }
        tiles.extend(writer.finish());
        let mut paths: Vec<_> = tiles.iter().map(|(tile, _)| *tile).collect();
        paths.sort();
        assert_eq!(paths, tile::all(size).collect::<Vec<_>>(), "{size}");
        for (tile, bytes) in &tiles {
            match tile.kind {
                Kind::Entries => assert_eq!(
                    decode_entries(bytes, tile.width).unwrap()[0],
                    tile.start().to_be_bytes()
                ),
                Kind::Hashes { .. } => {
                    assert_eq!(decode_hashes(bytes, tile.width).unwrap().len(), usize::from(tile.width))
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), width in 0_u16..=256) {
        let _ = decode_entries(&bytes, width);
        let _ = decode_hashes(&bytes, width);
        let _ = hanzo_log::SignedCheckpoint::parse(&bytes);
        let _ = hanzo_log::LogKey::from_document(&bytes);
        if let Ok(path) = std::str::from_utf8(&bytes) {
            let _ = Tile::parse(path);
        }
    }

    #[test]
    fn entries_come_back_as_they_went_in(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..20)) {
        let mut bundle = Vec::new();
        for entry in &entries {
            encode_entry(&mut bundle, entry).unwrap();
        }
        prop_assert_eq!(decode_entries(&bundle, entries.len() as u16).unwrap(), entries);
    }
}
