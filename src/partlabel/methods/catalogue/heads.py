"""Methods that are a head, with a loss that goes with it."""

from partlabel.methods.catalogue.entry import Entry, Needs

HEADS: dict[str, Entry] = {
    "ssgrl": Entry(
        "ssgrl:SSGRL",
        "Semantic-specific graph representation learning (Chen et al.), with BCE of known cells",
        "ICCV 2019",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        may_assume_absent=True,
    ),
    "ml_gcn": Entry(
        "ml_gcn:MLGCN",
        "Multi-label recognition with graph convolutions (Chen et al.), with partial BCE",
        "CVPR 2019",
        Needs.BOTH_SIGNS,
        "ignored",
        "ignored",
        may_assume_absent=True,
    ),
    "wsabie": Entry(
        "wsabie:Wsabie",
        "WARP in a joint embedding of images and classes, WSABIE (Weston et al.), of known pairs",
        "IJCAI 2011",
        Needs.PAIRS,
        "ignored",
        "ignored",
    ),
    "fast0tag": Entry(
        "fast0tag:Fast0Tag",
        "Ranking along a direction among word vectors, Fast0Tag (Zhang et al.), of known pairs",
        "CVPR 2016",
        Needs.PAIRS,
        "ignored",
        "ignored",
    ),
    "latent_noise": Entry(
        "latent_noise:LatentNoise",
        "Seeing through the human reporting bias, Latent Noise (Misra et al.)",
        "CVPR 2016",
        Needs.PRESENT,
        "absent",
        "taken as absent from what is mentioned, which what is seen need not believe",
    ),
    "cnn_rnn": Entry(
        "cnn_rnn:CNNRNN",
        "Labels in sequence, CNN-RNN (Wang et al.)",
        "CVPR 2016",
        Needs.PRESENT,
        "absent",
        "taken as absent, as known absent ones, which are not used otherwise",
    ),
}
