// The guest's only AML. QEMU's q35 machine as far as a kernel cannot find it by itself: a PCI root with its windows, the
// TPM's place, and how the machine is switched off. No method, no operation region: nothing here reads or writes anything.
// Devices interrupt by messages, so no interrupt routing is told. Serial port, timers and processors are found without AML.
DefinitionBlock ("dsdt.aml", "DSDT", 2, "HANZO ", "GUESTQ35", 1)
{
    // Soft off, as the machine's power management counts it.
    Name (_S5, Package () { 0, 0, 0, 0 })

    Scope (_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_SEG, 0)
            Name (_BBN, 0)
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0xFF, 0, 0x100)
                IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0x0000, 0x0CF7, 0, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0x0D00, 0xFFFF, 0, 0xF300)
                // Between the highest place of memory below 4 GiB and the configuration window, and above that window
                // up to the interrupt controller. Addresses above 4 GiB are not given out: BARs there are moved here.
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0x80000000, 0xDFFFFFFF, 0, 0x60000000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0xF0000000, 0xFEBFFFFF, 0, 0x0EC00000)
            })
        }

        // Where both interfaces of a TPM lie. Without the table TPM2 no driver takes it.
        Device (TPM)
        {
            Name (_HID, "MSFT0101")
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate () { Memory32Fixed (ReadWrite, 0xFED40000, 0x5000) })
        }
    }
}
