// A host's table. When its device is initialised it looks for the archive in the guest's memory, from the top down, and
// writes one letter into a file of it, before the guest unpacks it. The test fills in LETTER, DIGIT, PLACE and ASCII.
DefinitionBlock ("", "SSDT", 2, "EVIL  ", "BADAML", 1)
{
    Scope (\_SB)
    {
        Device (EVLETTER)
        {
            Name (_HID, "EVIL000DIGIT")
            Method (_INI, 0, Serialized)
            {
                Local0 = 0x20000000
                While (Local0 > 0x1F000000)
                {
                    Local0 -= 0x1000
                    If (LOOK (Local0))
                    {
                        Return (Zero)
                    }
                }
                Return (Zero)
            }
            Method (LOOK, 1, Serialized)
            {
                // The first file's bytes, behind the header of a newc archive.
                OperationRegion (PAGE, SystemMemory, Arg0 + 120, 16)
                Field (PAGE, DWordAcc, NoLock, Preserve) { MAR0, 32, MAR1, 32 }
                Field (PAGE, ByteAcc, NoLock, Preserve) { Offset (PLACE), HERE, 8 }
                If (MAR0 == 0x7A6E6168 && MAR1 == 0x6C6D616F)
                {
                    HERE = ASCII
                    Return (One)
                }
                Return (Zero)
            }
        }
    }
}
