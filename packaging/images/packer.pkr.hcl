# The part of a Packer template that makes the image ready; put your own builder in the place of `null`.
variable "release" {
  type    = string
  default = "https://example.org/v1"
}

source "null" "image" {
  communicator = "none"
}

build {
  sources = ["source.null.image"]

  # the image is a running machine: the whole loop is closed here, and nothing is left for the first boot
  provisioner "shell" {
    inline = ["curl -fsSLo install.sh ${var.release}/install.sh && sudo sh install.sh install apply"]
  }

  # only where a kernel was frozen by -e 2
  provisioner "shell" {
    inline            = ["if sudo fim-bootstrap reboot-required; then sudo reboot; fi"]
    expect_disconnect = true
  }

  # the gate: exit status 3 fails the build
  provisioner "shell" {
    pause_before = "10s"
    inline       = ["sudo fim-bootstrap check"]
  }
}
