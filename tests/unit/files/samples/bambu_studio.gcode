; HEADER_BLOCK_START
; BambuStudio 02.04.00.70
; model printing time: 8m 57s; total estimated time: 15m 42s
; total layer number: 4
; total filament length [mm] : 75.74
; total filament volume [cm^3] : 182.19
; total filament weight [g] : 0.23
; model label id: 171
; filament_density: 1.24
; filament_diameter: 1.75
; max_z_height: 0.80
; filament: 1
; HEADER_BLOCK_END

; CONFIG_BLOCK_START
; chamber_temperatures = 0
; curr_bed_type = Textured PEI Plate
; cool_plate_temp = 35
; filament_colour = #00AE42
; filament_settings_id = "Bambu PLA Basic @BBL A1M"
; filament_type = PLA
; gcode_flavor = marlin
; initial_layer_print_height = 0.2
; layer_height = 0.2
; nozzle_diameter = 0.4
; nozzle_temperature = 220
; nozzle_temperature_initial_layer = 225
; printable_area = 0x0,180x0,180x180,0x180
; printable_height = 180
; printer_model = Bambu Lab A1 mini
; printer_settings_id = Bambu Lab A1 mini 0.4 nozzle
; textured_plate_temp = 60
; textured_plate_temp_initial_layer = 65
; CONFIG_BLOCK_END

; EXECUTABLE_BLOCK_START
M73 P0 R15
M201 X20000 Y20000 Z500 E5000
M1002 gcode_claim_action : 2
M140 S65
M190 S65
M104 S225
G28
M109 S225
M83
; FEATURE: Custom
G1 X10 Y0.5 F18000
G1 X60 E10 F1800
; CHANGE_LAYER
; Z_HEIGHT: 0.20
; LAYER_HEIGHT: 0.2
G1 Z0.20 F720
; FEATURE: Brim
G1 X72 Y72 F9000
G1 X108 Y72 E0.5 F1800
G1 X108 Y108 E0.5 F1800
G1 X72 Y108 E0.5 F1800
G1 X72 Y72 E0.5 F1800
; FEATURE: Outer wall
G1 X80 Y80 F9000
G1 X100 Y80 E0.5 F1800
G1 X100 Y100 E0.5 F1800
G1 X80 Y100 E0.5 F1800
G1 X80 Y80 E0.5 F1800
; CHANGE_LAYER
; Z_HEIGHT: 0.40
; LAYER_HEIGHT: 0.2
G1 Z0.40 F720
; FEATURE: Outer wall
G1 X80 Y80 F9000
G1 X100 Y80 E0.5 F1800
G1 X100 Y100 E0.5 F1800
G1 X80 Y100 E0.5 F1800
G1 X80 Y80 E0.5 F1800
; CHANGE_LAYER
; Z_HEIGHT: 0.60
; LAYER_HEIGHT: 0.2
G1 Z0.60 F720
; FEATURE: Outer wall
G1 X80 Y80 F9000
G1 X100 Y80 E0.5 F1800
G1 X100 Y100 E0.5 F1800
G1 X80 Y100 E0.5 F1800
G1 X80 Y80 E0.5 F1800
; CHANGE_LAYER
; Z_HEIGHT: 0.80
; LAYER_HEIGHT: 0.2
G1 Z0.80 F720
; FEATURE: Outer wall
G1 X80 Y80 F9000
G1 X100 Y80 E0.5 F1800
G1 X100 Y100 E0.5 F1800
G1 X80 Y100 E0.5 F1800
G1 X80 Y80 E0.5 F1800
M104 S0
M140 S0
M73 P100 R0
; EXECUTABLE_BLOCK_END
