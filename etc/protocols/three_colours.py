"""Three mixtures of red, yellow and blue paint, one in each of the first wells; for `labctl ot2 analyze` and `run`."""

from opentrons import protocol_api

metadata = {"protocolName": "Three colours", "apiLevel": "2.15"}
MIXTURES_UL = {"A1": (120, 50, 80), "A2": (60, 60, 60), "A3": (0, 100, 150)}


def run(protocol: protocol_api.ProtocolContext) -> None:
    """A fresh tip for each paint; paints go in from above, so one tip does for all wells."""
    plate = protocol.load_labware("corning_96_wellplate_360ul_flat", 1)
    paints = protocol.load_labware("nest_12_reservoir_15ml", 3)
    tips = protocol.load_labware("opentrons_96_tiprack_300ul", 9)
    pipette = protocol.load_instrument("p300_single_gen2", "right", tip_racks=[tips])
    for number, paint in enumerate(("red", "yellow", "blue")):
        protocol.comment(f"{paint} paint")
        pipette.pick_up_tip()
        for well, volumes_ul in MIXTURES_UL.items():
            if volumes_ul[number]:
                pipette.aspirate(volumes_ul[number], paints.wells()[number])
                pipette.dispense(volumes_ul[number], plate[well].top())
                pipette.blow_out(plate[well].top())
        pipette.drop_tip()
